"""Colours, and what they stand for.

The colours are those of Okabe and Ito, which people with any of the usual colour blindnesses tell apart. None stands alone: a value has its
text, a line its place in the legend and, where lines of one thing stand together, its own dashes. As text only those are used that can be
read on Grafana's white and on its dark panels; a test computes the contrast.
"""

BLUE = "#0072B2"
GREEN = "#009E73"
GREY = "#7F7F7F"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
VERMILION = "#D55E00"

# As it should be; worth a look; wrong.
FINE, WARN, BAD = BLUE, PURPLE, VERMILION

SOLID = {"fill": "solid"}
DASHED = {"fill": "dash", "dash": [10, 6]}
DOTTED = {"fill": "dot", "dash": [2, 6]}


def steps(*pairs):
    """Thresholds: the colour of what is below the first value, then values and the colours from there on."""
    base, *rest = pairs
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}] + [{"color": color, "value": value} for value, color in rest],
    }


PLAIN = steps(FINE)
NONE_IS_FINE = steps(FINE, (1, BAD))
FEW_ARE_FINE = steps(FINE, (1, WARN))


def series(pattern, color, line=None):
    """How the lines look whose name matches a regular expression."""
    properties = [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}]
    if line:
        properties.append({"id": "custom.lineStyle", "value": line})
    return {"matcher": {"id": "byRegexp", "options": f"/{pattern}/"}, "properties": properties}


STATES = [
    series("^available$", BLUE),
    series("^pending$", SKY),
    series("^pendingAcceptance$", PURPLE),
    series("^deleting$", ORANGE),
    series("^(failed|rejected|expired)$", VERMILION),
    series("^partial$", VERMILION, DASHED),
    series("^none$", GREY),
]

SERVICE_STATES = [
    series("^Available$", BLUE),
    series("^Pending$", SKY),
    series("^Deleting$", ORANGE),
    series("^(Failed|Deleted)$", VERMILION),
    series("^none$", GREY),
]

CONNECTION_STATES = [
    series("^available$", BLUE),
    series("^pending$", SKY),
    series("^pending_acceptance$", PURPLE),
    series("^rejected$", VERMILION),
    series("^other$", GREY),
]

ERRORS = [
    series("^calls$", BLUE),
    series("^throttled", ORANGE),
    series("^denied", VERMILION),
    series("^invalid", PURPLE),
    series("^not_found", PURPLE, DASHED),
    series("^conflict", GREEN),
    series("^quota", SKY),
    series("^transient", GREY),
    series("^unknown", GREY, DASHED),
]

# What is under way or waits for somebody else; any other reason is trouble, in shades of one
# colour.
REASONS = [
    series("^Creating$", SKY),
    series("^(Pending|Updating|WaitingFor.*)$", GREY),
    series("^Deleting$", BLUE),
    series("^(RateLimited|Throttled)$", ORANGE),
    series("^PendingAcceptance$", PURPLE),
    series("^AccountSuspended$", GREEN),
]

ACTIONS = [
    series("(^| )CreateVpcEndpoint", BLUE),
    series("(^| )ModifyVpcEndpoint", GREEN),
    series("(^| )DeleteVpcEndpoints", VERMILION),
    series("(^| )(Create|Delete)Tags", PURPLE),
    series("(^| )CreateSecurityGroup", BLUE, DASHED),
    series("(^| )DeleteSecurityGroup", VERMILION, DASHED),
    series("(^| )(Authorize|Revoke|UpdateSecurityGroupRule)", GREEN, DASHED),
    series("(^| )DescribeVpcEndpoints", SKY),
    series("(^| )DescribeSecurityGroups", SKY, DASHED),
    series("(^| )AssumeRole", ORANGE),
    series("(^| )GetCallerIdentity", ORANGE, DASHED),
    series("(^| )CreateVpcEndpointService", BLUE, DOTTED),
    series("(^| )ModifyVpcEndpointService", GREEN, DOTTED),
    series("(^| )DeleteVpcEndpointService", VERMILION, DOTTED),
    series("(^| )(Accept|Reject)VpcEndpointConnections", PURPLE, DOTTED),
    series("(^| )Describe(VpcEndpointService|VpcEndpointConnections|LoadBalancers)", SKY, DOTTED),
]

CONTROLLERS = [
    series("vpcendpoint$", BLUE),
    series("vpcendpointservice$", GREEN),
    series("awsaccount$", ORANGE),
]

CONTROLLER_RESULTS = [
    series("^vpcendpoint: ok", BLUE),
    series("^vpcendpointservice: ok", GREEN),
    series("^awsaccount: ok", ORANGE),
    series("^vpcendpoint: conflict", SKY, DASHED),
    series("^vpcendpointservice: conflict", GREEN, DASHED),
    series("^awsaccount: conflict", ORANGE, DASHED),
    series("^vpcendpoint: (error|panic|timeout)", VERMILION),
    series("^vpcendpointservice: (error|panic|timeout)", VERMILION, DOTTED),
    series("^awsaccount: (error|panic|timeout)", VERMILION, DASHED),
]


def quantile(name, line):
    """Dashes for the lines of a quantile, whatever their colour is."""
    return {
        "matcher": {"id": "byRegexp", "options": f"/^{name}/"},
        "properties": [{"id": "custom.lineStyle", "value": line}],
    }


QUANTILES = [quantile("p95", DASHED), quantile("p99", DOTTED)]

READY_TEXT = {
    "type": "value",
    "options": {
        "True": {"color": FINE, "index": 0, "text": "✓ True"},
        "False": {"color": BAD, "index": 1, "text": "✗ False"},
        "Unknown": {"color": WARN, "index": 2, "text": "? Unknown"},
    },
}
