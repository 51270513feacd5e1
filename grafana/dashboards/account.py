"""For one team: its endpoints, what they wait for, and what they cost."""

from . import shared
from .looks import ACTIONS, BAD, ERRORS, FEW_ARE_FINE, FINE, GREEN, ORANGE, PURPLE, READY_TEXT, REASONS, WARN, series, steps
from .panels import (
    ACCOUNT,
    MONTH,
    NAMESPACE,
    alerts,
    column,
    dashboard as whole,
    docs,
    lines,
    of_account,
    price,
    quantiles,
    select,
    stat,
    table,
    target,
    targets_variables,
    text,
    timeline,
    variable,
)

READY = 'condition="Ready"'
AVAILABLE = 'condition="EndpointAvailable"'
LOAD_BALANCER = 'condition="LoadBalancerReady"'
KEYS = "cluster, namespace, name"
INFO = "vpce_endpoint_info"
SERVICE_INFO = "vpce_endpoint_service_info"
CONNECTIONS = "vpce_endpoint_service_connections"
ACCEPTANCE = 'reason="PendingAcceptance"'
RATE_LIMITED = 'reason="RateLimited"'
DENIED = 'class="denied"'
NOT_TRUE = 'status!="True"'
REQUEST_ERRORS = "vpce_aws_request_errors_total"
CONNECT = """\
**Ready** says that the endpoint is available in AWS as specified and that its Service is published. If a client still cannot connect, in this order:

1. **Name.** `kubectl get service NAME -o jsonpath='{.spec.externalName}'` must show the endpoint's DNS name, and a pod must resolve it to private \
addresses, one in each subnet. A cluster's DNS may cache the old answer for some minutes after an endpoint was recreated.
2. **TLS name.** The Service is an alias: a TLS client asks for the name that it is configured to connect to, and the certificate has the provider's. \
Connect to the endpoint's own DNS name (`.status.dns_name`) if the certificate has it, set the server name (SNI) and the HTTP `Host` in the client, or ask for \
private DNS.
3. **Port.** An endpoint answers only on the ports on which the provider's load balancer listens. Ask the provider. A timeout on one port and an \
answer on another is this.
4. **Security group.** `generated` lets in 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16. Pods with other addresses, or `provided` and `custom` \
groups, need a rule for the pods' addresses and the port. Egress of the nodes' or pods' own groups and NetworkPolicies count too.
5. **Routing.** The cluster must reach the endpoint's VPC: the same VPC, peering or a transit gateway, with routes both ways and network ACLs that \
let answers back.
6. **The provider.** Their targets may be unhealthy, or in other zones than your subnets.

More: [docs/troubleshooting.md](${docs}/troubleshooting.md) and [docs/faq.md](${docs}/faq.md).
"""


def chosen(metric, *matchers):
    """Series of the chosen endpoints and endpoint services."""
    return select(metric, ACCOUNT, NAMESPACE, *matchers)


def condition(*matchers):
    """Conditions of the chosen endpoints, which are exported while they need attention."""
    return chosen("vpce_endpoint_status_condition", *matchers)


def service_condition(*matchers):
    """Conditions of the chosen endpoint services, likewise."""
    return chosen("vpce_endpoint_service_status_condition", *matchers)


def without(info, told, **labels):
    """The objects without such a condition, with what it would say if it were exported."""
    expr = f"{chosen(info)} unless on ({KEYS}) {told}"
    for name, value in labels.items():
        expr = f'label_replace({expr}, "{name}", "{value}", "", "")'
    return expr


def summary():
    """The state of the endpoints in single numbers."""
    known = f"count({chosen('vpce_endpoint_info')})"
    limit = select("vpce_account_endpoints_limit", ACCOUNT)
    bound = select("vpce_account_endpoints", ACCOUNT)
    interfaces = chosen("vpce_endpoint_network_interfaces")
    return [
        stat(
            "Ready of total",
            "VPCEndpoints that are available in AWS as specified, with their Service published; and all of them.",
            [(f"{known} - (sum({condition(READY, NOT_TRUE)}) or 0 * {known})", "Ready"), (known, "of")],
            width=5,
            no_value="no endpoints",
            text="value_and_name",
        ),
        stat(
            "Waiting for acceptance",
            "VPCEndpoints that the owner of the service has to accept.",
            f"sum({condition(READY, ACCEPTANCE)}) or 0 * {known}",
            thresholds=FEW_ARE_FINE,
            no_value="no endpoints",
        ),
        stat(
            "Deleting",
            "VPCEndpoints that are being deleted.",
            f"count({chosen('vpce_endpoint_deletion_timestamp_seconds')}) or 0 * {known}",
            no_value="no endpoints",
        ),
        stat(
            "Quota left",
            "How many more VPCEndpoints the AWSAccount allows (max_endpoints): the account with the fewest left.",
            f"min({limit} - on (cluster, account) {bound})",
            thresholds=steps(BAD, (1, WARN), (3, FINE)),
            no_value="no limit",
        ),
        stat(
            "Estimated monthly cost",
            f"Network interfaces, which is what AWS charges for by the hour, at the price above for {MONTH} hours. Data processing comes on top.",
            f"sum({interfaces}) * $price * {MONTH}",
            unit="currencyUSD",
            decimals=2,
        ),
        stat(
            "Rate limited",
            "Endpoints that wait in the queue of the operator's rate limiter. No action is needed.",
            f"sum({condition(READY, RATE_LIMITED)}) or 0 * {known}",
            width=3,
            thresholds=FEW_ARE_FINE,
            no_value="no endpoints",
        ),
        table(
            "Account conditions",
            "The condition Ready of the AWSAccount, and those that need attention. Not Ready: the platform team sees why with kubectl describe "
            "awsaccount NAME.",
            [f"max by (account, condition, status, reason) ({select('vpce_account_status_condition', ACCOUNT)})"],
            {"account": "Account", "condition": "Condition", "status": "Status", "reason": "Reason"},
            width=12,
            height=9,
        ),
        alerts(ACCOUNT, width=12, height=9),
    ]


def endpoints():
    """Each of them."""
    return [
        table(
            "Endpoints",
            "Every VPCEndpoint: whether it is Ready and why not, the part of it that AWS has (the reason of the condition EndpointAvailable, which "
            "names AWS's state while there is anything to wait for), its id and region, and for how long it has not been Ready. kubectl describe "
            "vpce NAME tells the rest.",
            [
                f"max by ({KEYS}, account, region, vpc_endpoint_id) ({chosen('vpce_endpoint_info')})",
                f"max by ({KEYS}, status, reason) ({condition(READY)} or {without(INFO, condition(READY), status='True', reason='Available')})",
                f'max by ({KEYS}, state) (label_replace({condition(AVAILABLE)}, "state", "$1", "reason", "(.*)") '
                f"or {without(INFO, condition(AVAILABLE), state='Available')})",
                f"time() - max by ({KEYS}) ({chosen('vpce_endpoint_not_ready_timestamp_seconds')})",
            ],
            {
                "namespace": "Namespace",
                "name": "Name",
                "status": "Ready",
                "reason": "Reason",
                "state": "In AWS",
                "vpc_endpoint_id": "Endpoint id",
                "region": "Region",
                "account": "Account",
                "Value #D": "Not Ready for",
            },
            columns=[column("Ready", mapping=READY_TEXT), column("Not Ready for", unit="dtdurations", no_value="–")],
            height=13,
            sort={"displayName": "Ready", "desc": False},
            no_value="no endpoints",
        ),
        timeline(
            "Readiness over time",
            "Every VPCEndpoint: Ready or not. A gap: it did not exist.",
            [
                target(
                    f"0 * max by (namespace, name) ({condition(READY, NOT_TRUE)}) or max by (namespace, name) ({chosen('vpce_endpoint_info')})",
                    "{{namespace}}/{{name}}",
                )
            ],
            [(1, "✓ Ready", FINE), (0, "✗ not Ready", BAD)],
            height=11,
        ),
        shared.time_to_ready(width=12),
        lines(
            "Not Ready by reason",
            "VPCEndpoints that are not Ready, by the reason of their condition.",
            [target(f"sum by (reason) ({condition(READY, NOT_TRUE)})", "{{reason}}")],
            unit="short",
            stacked=True,
            color=BAD,
            overrides=REASONS,
        ),
    ]


def endpoint_services():
    """What the team offers to others."""
    ready, load_balancer = service_condition(READY), service_condition(LOAD_BALANCER)

    def count(state):
        matcher = f'state="{state}"'
        return f"sum by ({KEYS}) ({chosen(CONNECTIONS, matcher)})"

    return [
        table(
            "Endpoint services",
            "Every VPCEndpointService: whether it is Ready and why not, its load balancers (the reason of the condition LoadBalancerReady), the "
            "connections that carry traffic and those that wait to be accepted, its id and region, and for how long it has not been Ready. kubectl "
            "describe vpcesvc NAME tells the rest.",
            [
                f"max by ({KEYS}, account, region, service_id) ({chosen(SERVICE_INFO)})",
                f"max by ({KEYS}, status, reason) ({ready} or {without(SERVICE_INFO, ready, status='True', reason='Available')})",
                f'max by ({KEYS}, load_balancers) (label_replace({load_balancer}, "load_balancers", "$1", "reason", "(.*)") '
                f"or {without(SERVICE_INFO, load_balancer, load_balancers='Available')})",
                count("available"),
                count("pending_acceptance"),
                f"time() - max by ({KEYS}) ({chosen('vpce_endpoint_service_not_ready_timestamp_seconds')})",
            ],
            {
                "namespace": "Namespace",
                "name": "Name",
                "status": "Ready",
                "reason": "Reason",
                "load_balancers": "Load balancers",
                "Value #D": "Connected",
                "Value #E": "Waiting",
                "service_id": "Service id",
                "region": "Region",
                "account": "Account",
                "Value #F": "Not Ready for",
            },
            columns=[
                column("Ready", mapping=READY_TEXT),
                column("Connected", unit="short", decimals=0, no_value="0"),
                column("Waiting", unit="short", decimals=0, thresholds=FEW_ARE_FINE, no_value="0"),
                column("Not Ready for", unit="dtdurations", no_value="–"),
            ],
            sort={"displayName": "Ready", "desc": False},
            no_value="no endpoint services",
        ),
        shared.services_not_ready(service_condition(READY, NOT_TRUE), 12),
        shared.connections(chosen(CONNECTIONS), 12),
    ]


def calls():
    """What the operator does in AWS for the account, whichever namespace asked."""
    rate = f"rate({select('vpce_aws_requests_total')}[$__rate_interval])"
    errors = f"rate({select(REQUEST_ERRORS)}[$__rate_interval])"
    denied = f"rate({select(REQUEST_ERRORS, DENIED)}[$__rate_interval])"
    line = select("vpce_aws_rate_limiter_queue_length")
    tokens = select("vpce_aws_rate_limiter_tokens")
    return [
        lines(
            "AWS calls",
            "Calls per minute to EC2, Elastic Load Balancing and STS for the AWS account.",
            [target(f"60 * sum by (service) ({of_account(rate)})", "{{service}}")],
            unit="cpm",
            width=8,
            overrides=[series("^ec2$", ORANGE), series("^elasticloadbalancing$", PURPLE), series("^sts$", GREEN)],
        ),
        lines(
            "AWS errors by class",
            "Calls per minute that AWS refused or that failed: denied (a policy lacks the action), throttled (AWS's rate), invalid, quota, conflict, "
            "not_found, transient, unknown.",
            [target(f"60 * sum by (class) ({of_account(errors)})", "{{class}}")],
            unit="cpm",
            width=8,
            overrides=ERRORS,
        ),
        lines(
            "Denials by action",
            "Calls per minute that AWS denied to the account's role. The condition of the object names the action, the role and the policy to change.",
            [target(f"60 * sum by (action) ({of_account(denied)})", "{{action}}")],
            unit="cpm",
            width=8,
            color=BAD,
        ),
        lines(
            "Rate-limiter queue",
            "Objects of all namespaces that wait for a call in the AWS account. The queue is fair by namespace. Empty queues are not shown.",
            [target(f"max by (action, region) ({of_account(line)}) > 0", "{{action}} {{region}}")],
            unit="short",
            width=8,
            color=ORANGE,
        ),
        lines(
            "Rate-limiter tokens",
            "Calls of an action that could be made now. Tokens are refilled at a fixed rate; at zero, objects wait in the rate limiter's queue. Rate "
            "limiters with all their tokens are not shown.",
            [target(f"min by (action) ({of_account(tokens)})", "{{action}}")],
            unit="short",
            width=8,
            overrides=ACTIONS,
        ),
        lines(
            "Queue wait",
            "How long calls of all accounts waited in the rate limiter's queue: the 95th percentile by action.",
            quantiles("vpce_aws_rate_limiter_wait_seconds", ["action"], "{{action}}", which=(95,)),
            unit="s",
            width=8,
            overrides=ACTIONS,
            thresholds=steps(FINE, (600, WARN)),
        ),
    ]


def dashboard():
    """All of it."""
    return whole(
        "vpce-account",
        "VPC endpoints / Account / team",
        "For an app team: its VPCEndpoints and VPCEndpointServices, what they wait for, what AWS answers, and what they cost.",
        [
            *targets_variables(hidden=True),
            variable("account", "Account", f"label_values({select('vpce_account_info')}, account)", ".*"),
            variable("namespace", "Namespace", f"label_values({select('vpce_endpoint_network_interfaces', ACCOUNT)}, namespace)", ".*"),
            price(),
            docs(),
        ],
        [
            ("Summary", summary()),
            ("Endpoints", endpoints()),
            ("Endpoint services", endpoint_services()),
            ("AWS", calls()),
            (
                "Help",
                [
                    text(
                        "Ready but cannot connect?",
                        "What to check when an endpoint is Ready and a client still gets no answer.",
                        CONNECT,
                        height=9,
                    )
                ],
            ),
        ],
    )
