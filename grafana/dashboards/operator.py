"""The operator itself: its processes, its controllers, its API-server calls, its sessions and caches."""

from . import shared
from .looks import (
    BAD,
    BLUE,
    DASHED,
    ERRORS,
    FINE,
    GREEN,
    GREY,
    NONE_IS_FINE,
    ORANGE,
    PURPLE,
    QUANTILES,
    SKY,
    VERMILION,
    WARN,
    series,
    steps,
)
from .panels import dashboard as whole, docs, lines, quantiles, select, stat, target, targets_variables, timeline
from .shared import STS, of_process

KUBERNETES = "vpce_kubernetes_requests_total"
WRITE = 'verb=~"create|update|patch|delete"'
FAILED = 'code!~"2..|101"'
REQUESTS_BY_ACTION = "vpce_aws_request_duration_seconds_count"
READS = 'action=~"Describe.*"'
VERBS = [
    series("^watch", BLUE),
    series("^list", SKY),
    series("^get", GREY),
    series("^create", GREEN),
    series("^patch", ORANGE),
    series("^update", PURPLE),
    series("^delete", VERMILION),
]


def build():
    """What runs, and which replica leads."""
    return [
        shared.leader(),
        shared.version(6),
        stat(
            "Replicas",
            "Scraped processes: the leader and standby replicas.",
            f"count({select('vpce_build_info')})",
            no_value="none",
        ),
        stat(
            "Youngest process",
            "How long ago the last process started. If it stays short, the process restarts repeatedly.",
            f"time() - max({of_process(select('process_start_time_seconds'))})",
            unit="dtdurations",
            thresholds=steps(WARN, (600, FINE)),
        ),
        stat(
            "Unparseable objects",
            "Objects whose spec does not parse under the installed schema. Each has a condition that says why.",
            f"sum({select('vpce_unparseable_objects')})",
            width=6,
            thresholds=NONE_IS_FINE,
        ),
        timeline(
            "Leader over time",
            "Which process is the leader. There must not be two at once in one cluster; a gap of the lease duration is a failover.",
            [target(f"max by (cluster, instance) ({select('vpce_leader')})", "{{cluster}} {{instance}}")],
            [(1, "● leads", FINE), (0, "○ stands by", GREY)],
            height=5,
        ),
    ]


def controllers():
    """The reconcile loops."""
    by_account = f"sum by (account) (rate({select('vpce_reconciles_total')}[$__rate_interval]))"
    return [
        shared.reconciles(),
        shared.reconcile_errors(),
        shared.reconcile_duration(),
        shared.work(),
        lines(
            "Reconciles by account",
            "Finished reconciles per second: the ten busiest AWSAccounts. An outlier retries something repeatedly.",
            [target(f"topk(10, {by_account})", "{{account}}")],
            unit="ops",
            width=8,
        ),
        shared.time_to_ready(),
    ]


def api_server():
    """Requests to the Kubernetes API server."""
    rate = f"rate({select(KUBERNETES)}[$__rate_interval])"
    writes = f"rate({select(KUBERNETES, WRITE)}[$__rate_interval])"
    failed = f"rate({select(KUBERNETES, FAILED)}[$__rate_interval])"
    return [
        lines(
            "API-server calls",
            "Requests per second to the Kubernetes API server, by verb and resource. At rest: renewed watches, and the Lease.",
            [target(f"sum by (verb, resource) ({rate})", "{{verb}} {{resource}}")],
            unit="reqps",
            overrides=VERBS,
        ),
        lines(
            "API-server writes",
            "Write requests per second. At rest only the Lease is written; anything else over a long time is a loop.",
            [target(f"sum by (verb, resource) ({writes})", "{{verb}} {{resource}}")],
            unit="reqps",
            overrides=VERBS,
        ),
        lines(
            "API-server errors",
            "Requests per second that were refused or got no answer, by HTTP status. 404 and 409 are normal: something is gone, or exists "
            "already.",
            [target(f"sum by (code, verb, resource) ({failed})", "{{code}} {{verb}} {{resource}}")],
            unit="reqps",
            color=BAD,
        ),
        lines(
            "Watch errors",
            "Failed and restarted watches of the API server per second.",
            [target(f"sum by (kind) (rate({select('vpce_watch_errors_total')}[$__rate_interval]))", "{{kind}}")],
            unit="ops",
            overrides=[
                series("^VPCEndpoint$", BLUE),
                series("^VPCEndpointService$", SKY),
                series("^AWSAccount$", ORANGE),
                series("^Namespace$", GREEN),
                series("^Service$", PURPLE),
            ],
        ),
    ]


def aws_sessions():
    """What it has from STS."""
    left = f"min by (account) ({select('vpce_account_session_expiration_timestamp_seconds')}) - time()"
    rate = f"rate({select(REQUESTS_BY_ACTION, STS)}[$__rate_interval])"
    errors = f"rate({select('vpce_aws_request_errors_total', STS)}[$__rate_interval])"
    return [
        lines(
            "Time left in sessions",
            "Time until the sessions of the accounts' roles expire: the ten shortest. They are renewed ten minutes before they expire (a session of "
            "fifteen minutes after about half of it); under five minutes, renewing fails.",
            [target(f"bottomk(10, {left})", "{{account}}")],
            unit="s",
            width=8,
            thresholds=steps(BAD, (300, FINE)),
        ),
        lines(
            "Calls to STS",
            "AssumeRole and GetCallerIdentity calls per minute, and those that fail by class of error: each new session is verified once.",
            [
                target(f"60 * sum by (action) ({rate})", "{{action}}"),
                target(f"60 * sum by (class, action) ({errors})", "{{class}}: {{action}}"),
            ],
            unit="cpm",
            width=8,
            overrides=[series("^AssumeRole", ORANGE), series("^GetCallerIdentity", GREEN), *ERRORS],
        ),
        lines(
            "Latency of STS",
            "How long calls to STS take: the median and the 95th percentile (dashed) by action.",
            quantiles("vpce_aws_request_duration_seconds", ["action"], "{{action}}", STS),
            unit="s",
            width=8,
            overrides=[series("AssumeRole", ORANGE), series("GetCallerIdentity", GREEN), *QUANTILES],
        ),
    ]


def caches():
    """What it keeps in memory."""
    reads = f"rate({select(REQUESTS_BY_ACTION, READS)}[$__rate_interval])"
    return [
        lines(
            "Objects in the caches",
            "Watched VPCEndpoints, VPCEndpointServices and AWSAccounts, and cached regions of AWS accounts. Memory grows with them.",
            [
                target(f"sum({select('vpce_endpoints')})", "VPCEndpoints"),
                target(f"sum({select('vpce_endpoint_services')})", "VPCEndpointServices"),
                target(f"count({select('vpce_account_info')})", "AWSAccounts"),
                target(f"count({select('vpce_snapshot_timestamp_seconds')})", "regions"),
            ],
            unit="short",
            width=8,
            overrides=[
                series("^VPCEndpoints$", BLUE),
                series("^VPCEndpointServices$", SKY),
                series("^AWSAccounts$", ORANGE),
                series("^regions$", GREEN),
            ],
        ),
        shared.snapshot_age(str),
        lines(
            "Reads that fill the snapshots",
            "Describe calls per minute, in all accounts. At rest each region is read once in a resync interval; while something is pending, once in a "
            "poll interval, however many objects wait.",
            [target(f"60 * sum by (action) ({reads})", "{{action}}")],
            unit="cpm",
            width=8,
            overrides=[series("^DescribeVpcEndpoints", BLUE), series("^DescribeSecurityGroups", GREEN)],
        ),
    ]


def process():
    """What it takes from its node."""
    return [
        shared.memory(8),
        shared.cpu(8),
        lines(
            "Descriptors and threads",
            "Open file descriptors, which are mostly connections, and (dashed) threads.",
            [
                target(of_process(select("process_open_fds")), "descriptors: {{instance}}"),
                target(of_process(select("process_threads")), "threads: {{instance}}"),
            ],
            unit="short",
            width=8,
            overrides=[series("^descriptors", BLUE), series("^threads", ORANGE, DASHED)],
        ),
    ]


def dashboard():
    """All of it."""
    return whole(
        "vpce-operator",
        "VPC endpoints / Operator",
        "The operator itself: processes, controllers, API-server calls, sessions, caches and memory.",
        [*targets_variables(), docs()],
        [
            ("Build and leader", build()),
            ("Controllers", controllers()),
            ("API server", api_server()),
            ("Sessions", aws_sessions()),
            ("Caches", caches()),
            ("Process", process()),
        ],
    )
