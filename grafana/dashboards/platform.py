"""For the platform team: all accounts, what AWS and the operator do for them."""

from . import shared
from .looks import (
    ACTIONS,
    BAD,
    BLUE,
    ERRORS,
    FEW_ARE_FINE,
    FINE,
    NONE_IS_FINE,
    PURPLE,
    QUANTILES,
    READY_TEXT,
    REASONS,
    SERVICE_STATES,
    STATES,
    VERMILION,
    WARN,
    series,
    steps,
)
from .panels import (
    ACCOUNT,
    MONTH,
    REGION,
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
    variable,
)

READY = 'condition="Ready"'
STALLED = 'condition="Stalled"'
TRUE = 'status="True"'
NOT_TRUE = 'status!="True"'
RETAINED = 'retained="false"'
# Of conditions of endpoints those in the chosen regions.
IN_REGION = f"and on (cluster, namespace, name) {select('vpce_endpoint_info', REGION)}"
SERVICE_IN_REGION = f"and on (cluster, namespace, name) {select('vpce_endpoint_service_info', REGION)}"
REQUEST_ERRORS = "vpce_aws_request_errors_total"
REQUESTS_BY_ACTION = "vpce_aws_request_duration_seconds_count"
ACCOUNT_DASHBOARD = (
    "/d/vpce-account?${datasource:queryparam}&${cluster:queryparam}&var-account=${__data.fields.Account}&${__url_time_range}"
)


def condition(*matchers):
    """Conditions of the chosen endpoints."""
    return f"{select('vpce_endpoint_status_condition', ACCOUNT, *matchers)} {IN_REGION}"


def or_zero(expr, of):
    """Zero where there is nothing to sum, and nothing where `of` is absent too: then it is unknown."""
    return f"{expr} or 0 * {of}"


def glance():
    """The state of everything in single numbers."""
    known = f"sum({select('vpce_endpoints', ACCOUNT, REGION)})"
    not_ready = f"sum({select('vpce_endpoints_not_ready', ACCOUNT, REGION)})"
    regions = f"count({of_account(select('vpce_snapshot_timestamp_seconds', REGION))})"
    suspended = f"sum({select('vpce_account_suspended', ACCOUNT)})"
    return [
        shared.leader(3),
        stat(
            "Endpoints Ready",
            "The share of VPCEndpoints that are available in AWS as specified, with their Service published.",
            f"1 - ({or_zero(not_ready, known)}) / ({known} > 0)",
            unit="percentunit",
            decimals=1,
            width=3,
            thresholds=steps(BAD, (0.9, WARN), (0.99, FINE)),
            no_value="no endpoints",
        ),
        stat(
            "Stalled",
            "VPCEndpoints that cannot make progress until they or their AWS resources are edited.",
            or_zero(f"sum({condition(STALLED, TRUE)})", f"count({select('vpce_endpoint_info', ACCOUNT, REGION)})"),
            width=3,
            thresholds=FEW_ARE_FINE,
            no_value="no endpoints",
        ),
        stat(
            "Accounts not Ready",
            "AWSAccounts whose role cannot be assumed, or whose spec does not parse. Their endpoints wait.",
            or_zero(f"sum({select('vpce_account_status_condition', ACCOUNT, READY, NOT_TRUE)})", suspended),
            width=3,
            thresholds=NONE_IS_FINE,
            no_value="no accounts",
        ),
        stat(
            "Creation paused",
            "Regions in which creation is paused because many endpoints vanished at once. A person finds the cause, and resumes creation with the "
            "annotation silvermullet.com/resume-creation on the AWSAccount.",
            f"sum({of_account(select('vpce_creation_paused', REGION))})",
            width=3,
            thresholds=NONE_IS_FINE,
            no_value="no regions",
        ),
        stat(
            "Orphans",
            "Endpoints, endpoint services and security groups with this cluster's tag that belong to no object. `vpce-operator orphans` lists them, "
            "and deletes them on request.",
            or_zero(f"sum({of_account(select('vpce_orphans', REGION, RETAINED))})", regions),
            width=3,
            thresholds=FEW_ARE_FINE,
            no_value="no regions",
        ),
        stat(
            "Unparseable objects",
            "Objects whose spec does not parse under the installed schema. Each has a condition that says why.",
            f"sum({select('vpce_unparseable_objects')})",
            width=3,
            thresholds=NONE_IS_FINE,
        ),
        shared.version(3),
        alerts(width=16, height=9),
        text(
            "Links",
            "Links to the other dashboards, the runbooks and the docs.",
            "**One team**: click on its account in the table below.  \n"
            "**The process itself**: the dashboard *VPC endpoints / Operator*, linked above.  \n"
            "**An alert**: [its runbook](${docs}/runbooks/), `docs/runbooks/` in the repository.  \n"
            "**A reason of a condition**: [its paragraph](${docs}/troubleshooting.md), or `kubectl describe`.  \n"
            "**These panels**: [docs/dashboards.md](${docs}/dashboards.md).\n\n"
            "The links take the variable *URL of the docs*.",
            width=8,
            height=9,
        ),
    ]


def accounts():
    """The AWSAccounts and their state."""
    leads_to = f"max by (cluster, account, account_id) ({select('vpce_account_info', ACCOUNT)})"

    def calls(error):
        counted = select(REQUEST_ERRORS, f'class="{error}"')
        # A counter that appears with its first error hides it from increase().
        since = f"({counted} unless {counted} offset $__range) or increase({counted}[$__range])"
        some = f"sum by (cluster, account_id) ({since})"
        return f"{leads_to} * on (cluster, account_id) group_left () {some}"

    return [
        table(
            "Accounts",
            "Every AWSAccount: its AWS account, whether it is Ready and why not, how many VPCEndpoints are bound to it and its limit, how many "
            "VPCEndpointServices, calls that AWS denied or throttled in the time range (of the AWS account, through any AWSAccount), and when the "
            "session of its role expires (it is renewed minutes before). Click on the account for its dashboard. Not Ready: kubectl describe "
            "awsaccount NAME says what to do.",
            [
                leads_to,
                f"max by (cluster, account, status, reason) ({select('vpce_account_status_condition', ACCOUNT, READY)})",
                f"max by (cluster, account) ({select('vpce_account_endpoints', ACCOUNT)})",
                f"max by (cluster, account) ({select('vpce_account_endpoints_limit', ACCOUNT)})",
                calls("denied"),
                calls("throttled"),
                f"1000 * min by (cluster, account) ({select('vpce_account_session_expiration_timestamp_seconds', ACCOUNT)})",
                f"max by (cluster, account) ({select('vpce_account_suspended', ACCOUNT)})",
                f"max by (cluster, account) ({select('vpce_account_endpoint_services', ACCOUNT)})",
            ],
            {
                "cluster": "Cluster",
                "account": "Account",
                "account_id": "AWS account",
                "status": "Ready",
                "reason": "Reason",
                "Value #C": "Endpoints",
                "Value #D": "Limit",
                "Value #I": "Endpoint services",
                "Value #E": "Denied",
                "Value #F": "Throttled",
                "Value #G": "Session expires",
                "Value #H": "Suspended",
            },
            columns=[
                column("Account", link=("Open the dashboard of this account", ACCOUNT_DASHBOARD)),
                column("Ready", mapping=READY_TEXT),
                column("Endpoints", unit="short", decimals=0),
                column("Limit", unit="short", decimals=0, no_value="none"),
                column("Endpoint services", unit="short", decimals=0),
                column("Denied", unit="short", decimals=0, thresholds=NONE_IS_FINE, no_value="0"),
                column("Throttled", unit="short", decimals=0, thresholds=FEW_ARE_FINE, no_value="0"),
                column("Session expires", unit="dateTimeFromNow", no_value="no session"),
                column("Suspended", unit="bool_yes_no"),
            ],
            sort={"displayName": "Ready", "desc": False},
            height=9,
        )
    ]


def endpoints():
    """What AWS says of them."""
    age = f"(time() - {select('vpce_endpoint_deletion_timestamp_seconds', ACCOUNT)} {IN_REGION})"
    known = f"count({select('vpce_endpoint_info', ACCOUNT, REGION)})"
    return [
        lines(
            "Endpoints by state",
            "VPCEndpoints by the state of their endpoint in AWS. none: not created yet, or gone.",
            [target(f"sum by (state) ({select('vpce_endpoints', ACCOUNT, REGION)})", "{{state}}")],
            unit="short",
            stacked=True,
            overrides=STATES,
        ),
        lines(
            "Not Ready by reason",
            "VPCEndpoints that are not Ready, by the reason of their condition.",
            [target(f"sum by (reason) ({select('vpce_endpoints_not_ready', ACCOUNT, REGION)})", "{{reason}}")],
            unit="short",
            stacked=True,
            color=VERMILION,
            overrides=REASONS,
        ),
        shared.time_to_ready(),
        lines(
            "Deletions in progress by age",
            "Objects that are being deleted: for less than ten minutes, for less than an hour, for longer. AWS takes minutes; an hour means that "
            "something blocks the deletion.",
            [
                target(or_zero(f"count({age} < 600)", known), "under 10 min"),
                target(or_zero(f"count({age} >= 600 < 3600)", known), "10 min to 1 h"),
                target(or_zero(f"count({age} >= 3600)", known), "over 1 h"),
            ],
            unit="short",
            width=8,
            stacked=True,
            overrides=[series("^under", BLUE), series("^10 min", PURPLE), series("^over", VERMILION)],
        ),
        table(
            "Oldest deletions",
            "The ten objects that have been in deletion the longest. kubectl describe vpce NAME says what they wait for.",
            [f"topk(10, max by (cluster, account, namespace, name) {age})"],
            {"account": "Account", "namespace": "Namespace", "name": "Name", "Value": "In deletion for"},
            columns=[column("In deletion for", unit="dtdurations", thresholds=steps(FINE, (600, WARN), (3600, BAD)))],
            width=8,
            no_value="none",
        ),
        lines(
            "Planned changes",
            "Changes that are planned and not made, because the operator is read-only, the AWSAccount is suspended or the object is frozen, by "
            "account and action. `vpce-operator plan NAMESPACE/NAME` shows those of one object.",
            [target(f"sum by (account, action) ({select('vpce_planned_changes', ACCOUNT)})", "{{account}}: {{action}}")],
            unit="short",
            width=24,
            height=7,
            stacked=True,
        ),
    ]


def endpoint_services():
    """What the accounts offer to others."""
    connections = f"{select('vpce_endpoint_service_connections', ACCOUNT)} {SERVICE_IN_REGION}"
    return [
        lines(
            "Endpoint services by state",
            "VPCEndpointServices by the state of their endpoint service in AWS. none: not created yet, or gone.",
            [target(f"sum by (state) ({select('vpce_endpoint_services', ACCOUNT, REGION)})", "{{state}}")],
            unit="short",
            width=8,
            stacked=True,
            overrides=SERVICE_STATES,
        ),
        shared.services_not_ready(select("vpce_endpoint_services_not_ready", ACCOUNT, REGION)),
        shared.connections(connections),
    ]


def cost():
    """What AWS charges by the hour."""
    interfaces = f"sum by (namespace) ({select('vpce_endpoint_network_interfaces', ACCOUNT)})"
    total = f"sum({select('vpce_endpoint_network_interfaces', ACCOUNT)})"
    return [
        table(
            "Namespaces by network interfaces",
            "What AWS charges for by the hour: the network interfaces of endpoints, one in each Availability Zone, at the price above; a month has "
            f"{MONTH} hours. Data processing comes on top.",
            [f"{interfaces} > 0", f"({interfaces} > 0) * $price", f"({interfaces} > 0) * $price * {MONTH}"],
            {"namespace": "Namespace", "Value #A": "Interfaces", "Value #B": "USD an hour", "Value #C": "USD a month"},
            columns=[
                column("Interfaces", unit="short", decimals=0),
                column("USD an hour", unit="currencyUSD", decimals=2),
                column("USD a month", unit="currencyUSD", decimals=2),
            ],
            width=12,
            sort={"displayName": "Interfaces", "desc": True},
        ),
        lines(
            "Network interfaces",
            "Network interfaces of endpoints: the ten namespaces with the most.",
            [target(f"topk(10, {interfaces})", "{{namespace}}")],
            unit="short",
            width=8,
            stacked=True,
        ),
        stat(
            "Estimated monthly cost",
            f"All network interfaces at the price above for {MONTH} hours. Data processing comes on top.",
            f"{total} * $price * {MONTH}",
            unit="currencyUSD",
            decimals=2,
        ),
    ]


def aws():
    """The calls, and the rate limiter's queues."""
    rate = f"rate({select(REQUESTS_BY_ACTION)}[$__rate_interval])"
    errors = f"rate({select(REQUEST_ERRORS, REGION)}[$__rate_interval])"
    tokens = of_account(select("vpce_aws_rate_limiter_tokens", REGION))
    length = of_account(select("vpce_aws_rate_limiter_queue_length", REGION))
    return [
        lines(
            "Calls by action",
            "Calls to EC2, Elastic Load Balancing and STS per minute, in all accounts. Solid lines are writes, light ones reads.",
            [target(f"60 * sum by (action) ({rate})", "{{action}}")],
            unit="cpm",
            overrides=ACTIONS,
        ),
        lines(
            "Errors by class",
            "Calls per minute that AWS refused or that failed, by class of error: denied (a policy lacks the action), throttled (AWS's rate limit), "
            "invalid, quota, conflict, not_found, transient, unknown.",
            [target(f"60 * sum by (class, action) ({of_account(errors)})", "{{class}}: {{action}}")],
            unit="cpm",
            overrides=ERRORS,
        ),
        lines(
            "Call latency",
            "How long calls to AWS take, in all accounts: the median and the 95th percentile (dashed) by action.",
            quantiles("vpce_aws_request_duration_seconds", ["action"], "{{action}}"),
            unit="s",
            overrides=ACTIONS + QUANTILES,
        ),
        shared.sessions(),
        lines(
            "Tokens left",
            "Calls of an action that could be made now, in the account and region with the fewest. At zero, objects wait in the rate limiter's queue. "
            "Rate limiters with all their tokens are not shown.",
            [target(f"min by (action) ({tokens})", "{{action}}")],
            unit="short",
            width=8,
            overrides=ACTIONS,
        ),
        lines(
            "Rate-limiter queue",
            "Objects that wait for a token of the operator's rate limiter: the ten longest queues. Empty queues are not shown.",
            [target(f"topk(10, max by (account_id, region, action) ({length}) > 0)", "{{action}} {{account_id}} {{region}}")],
            unit="short",
            width=8,
        ),
        lines(
            "Queue wait",
            "How long calls waited in the rate limiter's queue, in all accounts: the median and the 95th percentile (dashed) by action. If it is ten "
            "minutes or more, ask AWS for a higher rate.",
            quantiles("vpce_aws_rate_limiter_wait_seconds", ["action"], "{{action}}"),
            unit="s",
            width=8,
            overrides=ACTIONS + QUANTILES,
            thresholds=steps(FINE, (600, WARN)),
        ),
        shared.snapshot_age(of_account, 24),
    ]


def dashboard():
    """All of it."""
    return whole(
        "vpce-platform",
        "VPC endpoints / Platform",
        "For the platform team: AWS accounts, the VPC endpoints in them, the calls to AWS, and the operator itself.",
        [
            *targets_variables(),
            variable("account", "Account", f"label_values({select('vpce_account_info')}, account)", ".*"),
            variable("region", "Region", f"label_values({select('vpce_snapshot_timestamp_seconds')}, region)", ".*"),
            price(),
            docs(),
        ],
        [
            ("At a glance", glance()),
            ("Accounts", accounts()),
            ("Endpoints", endpoints()),
            ("Endpoint services", endpoint_services()),
            ("Cost", cost()),
            ("AWS", aws()),
            ("Reconciles", [shared.reconciles(12), shared.reconcile_errors(12), shared.reconcile_duration(12), shared.work(12)]),
            ("Operator", [shared.cpu(), shared.memory()]),
        ],
    )
