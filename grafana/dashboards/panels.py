"""Makes panels, rows, variables and whole dashboards."""

from . import looks

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 41
TAG = "vpce-operator"
WIDTH = 24
# Hours in a month, as AWS's own estimates count them.
MONTH = 730
PRICE = "0.01"

# Matchers for what was chosen above the panels.
ACCOUNT = 'account=~"$account"'
NAMESPACE = 'namespace=~"$namespace"'
REGION = 'region=~"$region"'


def select(metric, *matchers):
    """A selector of the metric: the target's labels, which every series has, and more."""
    of_target = ('cluster=~"$cluster"', 'job=~"$job"', 'instance=~"$instance"')
    return f"{metric}{{{', '.join((*of_target, *matchers))}}}"


def of_account(expr):
    """Of series of AWS accounts those to which the chosen AWSAccounts lead."""
    return f"{expr} and on (cluster, account_id) {select('vpce_account_info', ACCOUNT)}"


def target(expr, legend="", instant=False, table=False):
    """One query."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "table" if table else "time_series",
        "instant": instant,
        "range": not instant,
        "legendFormat": legend or "__auto",
    }


def cell(expr):
    """A query that fills a table."""
    return target(expr, instant=True, table=True)


def quantiles(metric, by, legend, *matchers, filtered=None, which=(50, 95)):
    """Queries for quantiles of a histogram, by labels."""
    rate = f"rate({select(metric + '_bucket', *matchers)}[$__rate_interval])"
    inner = filtered(rate) if filtered else rate
    labels = ", ".join(("le", *by))
    return [target(f"histogram_quantile({q / 100:g}, sum by ({labels}) ({inner}))", f"p{q} {legend}".strip()) for q in which]


def panel(kind, title, description, targets, width, height, defaults, options, overrides=()):
    """What all panels have."""
    for index, query in enumerate(targets):
        query["refId"] = chr(ord("A") + index)
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "targets": targets,
    }


def stat(
    title,
    description,
    expr,
    *,
    width=4,
    unit="short",
    thresholds=looks.PLAIN,
    decimals=None,
    legend="",
    mappings=(),
    no_value="–",
    text="value",
):
    """One number, or one name, as it is now."""
    defaults = {"unit": unit, "thresholds": thresholds, "color": {"mode": "thresholds"}, "mappings": list(mappings), "noValue": no_value}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": text,
        "wideLayout": True,
    }
    exprs = expr if isinstance(expr, list) else [(expr, legend)]
    return panel("stat", title, description, [target(e, name, instant=True) for e, name in exprs], width, 4, defaults, options)


def lines(
    title,
    description,
    targets,
    *,
    unit,
    width=12,
    height=8,
    overrides=(),
    stacked=False,
    color=None,
    thresholds=None,
    most=None,
    bars=False,
):
    """Lines over time; without a colour of their own they are shades of one."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 1 if bars else 2,
        "fillOpacity": 70 if bars else 25 if stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
        "axisSoftMin": 0,
    }
    defaults = {
        "unit": unit,
        "min": 0,
        "custom": custom,
        "color": {"mode": "shades", "fixedColor": color or looks.BLUE},
        "thresholds": thresholds or looks.PLAIN,
    }
    if most is not None:
        defaults["max"] = most
    options = {
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, targets, width, height, defaults, options, overrides)


def timeline(title, description, targets, texts, *, width=24, height=8):
    """States over time, each a band with its text; `texts` says what a value means."""
    mappings = [
        {"type": "value", "options": {str(value): {"index": index, "text": text, "color": color}}}
        for index, (value, text, color) in enumerate(texts)
    ]
    defaults = {
        "unit": "none",
        "custom": {"fillOpacity": 80, "lineWidth": 0},
        "color": {"mode": "fixed", "fixedColor": looks.GREY},
        "thresholds": looks.PLAIN,
        "mappings": mappings,
    }
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "perPage": 20,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel("state-timeline", title, description, targets, width, height, defaults, options)


def column(name, *, unit=None, decimals=None, mapping=None, thresholds=None, link=None, width=None, no_value=None):
    """How a column of a table looks."""
    properties = []
    if unit:
        properties.append({"id": "unit", "value": unit})
    if decimals is not None:
        properties.append({"id": "decimals", "value": decimals})
    if mapping:
        properties.append({"id": "mappings", "value": [mapping]})
    if thresholds:
        properties.append({"id": "thresholds", "value": thresholds})
    if mapping or thresholds:
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    if link:
        title, url = link
        properties.append({"id": "links", "value": [{"title": title, "url": url}]})
    if width:
        properties.append({"id": "custom.width", "value": width})
    if no_value:
        properties.append({"id": "noValue", "value": no_value})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def table(title, description, exprs, names, *, columns=(), width=24, height=8, sort=None, no_value="–"):
    """A table that joins the results of its queries; `names` gives the fields that are shown, in order, with their headings."""
    fields = ["Time", "__name__", "cluster", "job", "instance", *(f"Value #{chr(ord('A') + i)}" for i in range(len(exprs)))]
    if len(exprs) == 1:
        # A single result keeps the plain name.
        fields.append("Value")
    hidden = {field: True for field in fields if field not in names}
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": hidden,
                "indexByName": {field: index for index, field in enumerate(names)},
                "renameByName": names,
            },
        },
    ]
    defaults = {
        "unit": "none",
        "noValue": no_value,
        "custom": {"align": "left", "cellOptions": {"type": "auto"}, "filterable": True},
        "color": {"mode": "thresholds"},
        "thresholds": looks.PLAIN,
    }
    options = {"cellHeight": "sm", "showHeader": True, "sortBy": [sort] if sort else []}
    made = panel("table", title, description, [cell(expr) for expr in exprs], width, height, defaults, options, columns)
    made["transformations"] = transformations
    return made


def text(title, description, content, *, width=24, height=8):
    """Words, in Markdown."""
    return {
        "type": "text",
        "title": title,
        "description": description,
        "gridPos": {"w": width, "h": height},
        "options": {"mode": "markdown", "content": content},
    }


def alerts(*matchers, width=24, height=5):
    """The alerts of the chart that are pending or firing. ALERTS comes from Prometheus's own rules: it has no job and no instance."""
    ours = 'cluster=~"$cluster", alertname=~"VPCE.+"'
    expr = f"ALERTS{{{', '.join((ours, *matchers))}}}"
    if ACCOUNT in matchers:
        # Some know the AWS account only.
        of_aws_account = f'ALERTS{{{ours}, account_id!=""}}'
        expr = f"{expr} or {of_account(of_aws_account)}"
    return table(
        "Alerts",
        "Alerts of this operator that are pending or firing, as Prometheus evaluates them. Empty: none. What to do about each stands in "
        "docs/runbooks under its name; Grafana's own list of alerts is linked above.",
        [f"max by (alertname, alertstate, severity, account, account_id, namespace) ({expr})"],
        {
            "alertname": "Alert",
            "alertstate": "State",
            "severity": "Severity",
            "account": "Account",
            "account_id": "AWS account",
            "namespace": "Namespace",
        },
        columns=[
            column(
                "State",
                mapping={
                    "type": "value",
                    "options": {
                        "firing": {"color": looks.BAD, "index": 0, "text": "▲ firing"},
                        "pending": {"color": looks.WARN, "index": 1, "text": "… pending"},
                    },
                },
            ),
        ],
        width=width,
        height=height,
        no_value="no alerts",
    )


def variable(name, label, query, every, *, hidden=False):
    """A variable that lists values of a label; All stands for `every`, a regular expression."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery", "qryType": 1},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 2 if hidden else 0,
        "options": [],
        "regex": "",
        "skipUrlSync": False,
    }


def typed(name, label, value, description):
    """A variable that a person types."""
    option = {"selected": True, "text": value, "value": value}
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "textbox",
        "query": value,
        "current": option,
        "options": [option],
        "hide": 0,
        "skipUrlSync": False,
    }


def price():
    """The hourly price of a network interface."""
    return typed(
        "price",
        "USD an interface-hour",
        PRICE,
        "What AWS asks for one interface endpoint in one Availability Zone for an hour. The default is the price of US East (N. Virginia) "
        "on the page 'AWS PrivateLink pricing' (aws.amazon.com/privatelink/pricing). Prices differ by region: type your own. "
        "Data processing comes on top.",
    )


def docs():
    """Where the project's docs are."""
    return typed(
        "docs",
        "URL of the docs",
        "",
        "Where the folder docs/ of vpce-operator can be read, such as your mirror of the repository. The links in the text panels begin with it.",
    )


def targets_variables(hidden=False):
    """The data source, and the labels that every target has. The label cluster may be absent: All then finds what has none."""
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "multi": False,
            "includeAll": False,
            "current": {},
            "hide": 0,
            "options": [],
            "skipUrlSync": False,
        },
        variable("cluster", "Cluster", "label_values(vpce_build_info, cluster)", ".*"),
        variable("job", "Job", 'label_values(vpce_build_info{cluster=~"$cluster"}, job)', ".+", hidden=hidden),
        variable("instance", "Instance", 'label_values(vpce_build_info{cluster=~"$cluster", job=~"$job"}, instance)', ".+", hidden=hidden),
    ]


def annotation(name, severity, color, enabled):
    """Marks when alerts fired."""
    expr = f'max by (alertname, account, namespace) (ALERTS{{cluster=~"$cluster", alertname=~"VPCE.+", alertstate="firing", severity="{severity}"}})'
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": enabled,
        "expr": expr,
        "iconColor": color,
        "tagKeys": "account,namespace",
        "textFormat": "",
        "titleFormat": "{{alertname}}",
        "useValueForTime": False,
    }


def link(title, url):
    """A link above the panels to another page of this Grafana."""
    return {
        "type": "link",
        "title": title,
        "url": url,
        "icon": "bell",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": False,
    }


def dashboard(uid, title, description, variables, rows):
    """The whole: rows of panels, laid out from left to right and from top to bottom."""
    placed, y, number = [], 0, 0
    for heading, panels in rows:
        number += 1
        placed.append(
            {
                "id": number,
                "type": "row",
                "title": heading,
                "collapsed": False,
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
                "panels": [],
            }
        )
        y, x, height = y + 1, 0, 0
        for made in panels:
            number += 1
            place = made["gridPos"]
            if x + place["w"] > WIDTH:
                x, y, height = 0, y + height, 0
            place.update(x=x, y=y)
            x, height = x + place["w"], max(height, place["h"])
            placed.append({"id": number, **made})
        y += height
    siblings = {
        "type": "dashboards",
        "title": "VPC endpoints",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "id": None,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "weekStart": "",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "links": [siblings, link("Alerts", "/alerting/list?search=VPCE")],
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "annotations": {
            "list": [
                {
                    "builtIn": 1,
                    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
                    "enable": True,
                    "hide": True,
                    "iconColor": looks.SKY,
                    "name": "Annotations & Alerts",
                    "type": "dashboard",
                },
                annotation("Critical alerts", "critical", looks.BAD, True),
                annotation("Warnings", "warning", looks.WARN, False),
            ]
        },
        "templating": {"list": variables},
        "panels": placed,
    }
