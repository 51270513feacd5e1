"""Panels of more than one dashboard."""

from .looks import (
    BAD,
    CONNECTION_STATES,
    CONTROLLER_RESULTS,
    CONTROLLERS,
    DASHED,
    ERRORS,
    FINE,
    QUANTILES,
    REASONS,
    WARN,
    steps,
)
from .panels import lines, of_account, quantiles, select, stat, target

STS = 'service="sts"'


def version(width=4):
    """Which builds run."""
    return stat(
        "Version",
        "The running builds. Two of them: an upgrade is in progress.",
        f"count by (version, revision) ({select('vpce_build_info')})",
        legend="{{version}} ({{revision}})",
        text="name",
        width=width,
        unit="none",
    )


def leader(width=4):
    """Whether there is a leader."""
    return stat(
        "Leader",
        "Number of leaders: one in each cluster. None: nothing is reconciled, and no series of objects are exported.",
        f"sum({select('vpce_leader')})",
        mappings=[{"type": "value", "options": {"0": {"text": "✗ none", "color": BAD, "index": 0}}}],
        thresholds=steps(BAD, (1, FINE)),
        no_value="✗ no metrics",
        width=width,
    )


def sessions(width=12):
    """Calls to STS, and those that fail."""
    rate = f"rate({select('vpce_aws_requests_total', STS)}[$__rate_interval])"
    errors = f"rate({select('vpce_aws_request_errors_total', STS)}[$__rate_interval])"
    return lines(
        "Sessions: calls to STS",
        "Calls to STS per minute, and those that fail by class of error: about two for each account in a session's lifetime, AssumeRole and "
        "GetCallerIdentity. A refused role is tried a few times a minute at most.",
        [target(f"60 * sum({of_account(rate)})", "calls"), target(f"60 * sum by (class) ({of_account(errors)})", "{{class}}")],
        unit="cpm",
        width=width,
        overrides=ERRORS,
    )


def snapshot_age(filtered, width=8):
    """How old the regions' snapshots are; `filtered` leaves those that are chosen."""
    age = f"time() - max by (cluster, account_id, region) ({select('vpce_snapshot_timestamp_seconds')})"
    return lines(
        "Snapshot age",
        "How long ago each region was last read as a whole: the ten oldest. More than three resync intervals (15 min by default) means that "
        "reading fails.",
        [target(f"topk(10, {filtered(age)})", "{{account_id}} {{region}}")],
        unit="s",
        width=width,
        thresholds=steps(FINE, (900, BAD)),
    )


def reconciles(width=8):
    """How many end how."""
    return lines(
        "Reconciles by result",
        "Finished reconciles per second. At rest there are few: one of every object in each resync interval.",
        [target(f"sum by (controller, result) (rate({select('vpce_reconciles_total')}[$__rate_interval]))", "{{controller}}: {{result}}")],
        unit="ops",
        width=width,
        overrides=CONTROLLER_RESULTS,
    )


def reconcile_errors(width=8):
    """The share that fails."""
    all_of = select("vpce_reconciles_total")
    failed = select("vpce_reconciles_total", 'result=~"error|panic|timeout"')
    return lines(
        "Reconciles that fail",
        "The share of reconciles that the API server refused, that timed out, or that panicked; they are retried. What AWS refuses is a "
        "condition of the object and does not count here.",
        [
            target(
                f"(sum by (controller) (rate({failed}[$__rate_interval])) or 0 * sum by (controller) (rate({all_of}[$__rate_interval])))"
                f" / (sum by (controller) (rate({all_of}[$__rate_interval])) > 0)",
                "{{controller}}",
            )
        ],
        unit="percentunit",
        width=width,
        overrides=CONTROLLERS,
        most=1,
    )


def reconcile_duration(width=8):
    """How long they take."""
    return lines(
        "Reconcile duration",
        "The median and the 99th percentile (dotted) by controller.",
        quantiles("vpce_reconcile_duration_seconds", ["controller"], "{{controller}}", which=(50, 99)),
        unit="s",
        width=width,
        overrides=CONTROLLERS + QUANTILES,
    )


def work(width=8):
    """What runs and what waits."""
    return lines(
        "Running and waiting",
            "Running reconciles, and (dashed) objects that wait because of the maximum concurrent reconciles of their AWS account.",
        [
            target(f"sum by (controller) ({select('vpce_reconciles_in_flight')})", "running: {{controller}}"),
            target(f"sum by (controller) ({select('vpce_queue_depth')})", "waiting: {{controller}}"),
        ],
        unit="short",
        width=width,
        overrides=CONTROLLERS
        + [{"matcher": {"id": "byRegexp", "options": "/^waiting/"}, "properties": [{"id": "custom.lineStyle", "value": DASHED}]}],
    )


def time_to_ready(width=8):
    """From applied to Ready."""
    return lines(
        "Time to Ready",
        "From applied to Ready for the first time, of endpoints in all accounts that became Ready then: the median and the 95th percentile "
        "(dashed). AWS itself takes one to five minutes.",
        quantiles("vpce_time_to_ready_seconds", [], ""),
        unit="s",
        width=width,
        overrides=QUANTILES,
        thresholds=steps(FINE, (1800, WARN)),
    )


def services_not_ready(expr, width=8):
    """Why VPCEndpointServices are not Ready; `expr` gives those that are chosen."""
    return lines(
        "Endpoint services not Ready by reason",
        "VPCEndpointServices that are not Ready, by the reason of their condition.",
        [target(f"sum by (reason) ({expr})", "{{reason}}")],
        unit="short",
        width=width,
        stacked=True,
        color=BAD,
        overrides=REASONS,
    )


def connections(expr, width=8):
    """How connections of VPCEndpointServices stand; `expr` gives those that are chosen."""
    return lines(
        "Connections by state",
        "Connections of VPCEndpointServices by their state. pending_acceptance: they carry no traffic until they are accepted; the operator "
        "accepts those of consumers.",
        [target(f"sum by (state) ({expr})", "{{state}}")],
        unit="short",
        width=width,
        stacked=True,
        overrides=CONNECTION_STATES,
    )


def of_process(expr):
    """Of series of processes those of the operator: other jobs have them too."""
    return f"{expr} and on (cluster, job, instance) {select('vpce_build_info')}"


def cpu(width=12):
    """Processor time."""
    return lines(
        "CPU",
        "Cores that each process keeps busy.",
        [target(of_process(f"rate({select('process_cpu_seconds_total')}[$__rate_interval])"), "{{instance}}")],
        unit="short",
        width=width,
    )


def memory(width=12):
    """Resident memory."""
    return lines(
        "Memory",
        "Resident memory of each process.",
        [target(of_process(select("process_resident_memory_bytes")), "{{instance}}")],
        unit="bytes",
        width=width,
    )
