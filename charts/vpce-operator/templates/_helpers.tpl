{{/* Names, labels and the settings that become environment variables. */}}

{{- define "vpce-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name where it contains the chart's, else both; at most 63 characters. */}}
{{- define "vpce-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vpce-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespace -}}
{{- end -}}

{{- define "vpce-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "vpce-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* CEL: whether a request comes from the operator's ServiceAccount. */}}
{{- define "vpce-operator.isTheOperator" -}}
request.userInfo.username == 'system:serviceaccount:{{ include "vpce-operator.namespace" . }}:{{ include "vpce-operator.serviceAccountName" . }}'
{{- end -}}

{{/* CEL: whether `key` is one of a list of keys, where a trailing * matches all keys with that prefix; ends with "||". */}}
{{- define "vpce-operator.keyIsAllowed" -}}
{{- range $key := . -}}
{{- if hasSuffix "*" $key -}}
key.startsWith('{{ trimSuffix "*" $key }}') || {{ else -}}
key == '{{ $key }}' || {{ end -}}
{{- end -}}
{{- end -}}

{{- define "vpce-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "vpce-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vpce-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "vpce-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Labels and annotations of an object: the release's, its own (`labels`, `annotations`), and the common ones, in this order. */}}
{{- define "vpce-operator.metadata" -}}
labels:
  {{- merge (include "vpce-operator.labels" .root | fromYaml) (default (dict) .labels) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The image reference. A digest takes precedence over a tag beside it, which is for people. */}}
{{- define "vpce-operator.image" -}}
{{- $image := .Values.image -}}
{{- $repository := list (default $image.registry .Values.global.imageRegistry) $image.repository | compact | join "/" -}}
{{- if $image.digest -}}
{{- printf "%s%s@%s" $repository (ternary (printf ":%s" $image.tag) "" (ne $image.tag "")) $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The port of a URL, or that of its scheme. */}}
{{- define "vpce-operator.urlPort" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* The port of settings.healthAddress, or the operator's default. */}}
{{- define "vpce-operator.healthPort" -}}
{{- regexFind "[0-9]+$" (toString .Values.settings.healthAddress) | default "8080" -}}
{{- end -}}

{{/* The port of settings.metricsAddress, or the operator's default. */}}
{{- define "vpce-operator.metricsPort" -}}
{{- regexFind "[0-9]+$" (toString .Values.settings.metricsAddress) | default "8443" -}}
{{- end -}}

{{/* Where the Secret of metrics.tls.secretName is mounted. */}}
{{- define "vpce-operator.certificateDir" -}}
/etc/vpce-operator/metrics-certificate
{{- end -}}

{{/* Whether a certificate is mounted, as a text that is empty or not. */}}
{{- define "vpce-operator.hasCertificate" -}}
{{- if and .Values.metrics.tls.enabled .Values.metrics.tls.secretName -}}
true
{{- end -}}
{{- end -}}

{{/*
The endpoint of a ServiceMonitor or PodMonitor (`monitor`), without its token. Where Prometheus keeps the target's own label
`namespace`, that of a VPCEndpoint becomes `exported_namespace`: it is copied back, so that alerts and dashboards work either way.
*/}}
{{- define "vpce-operator.scrape" -}}
{{- $monitor := .monitor -}}
port: metrics
path: /metrics
{{- if .root.Values.metrics.tls.enabled }}
scheme: https
tlsConfig:
  {{- toYaml (default (dict "insecureSkipVerify" true) $monitor.tlsConfig) | nindent 2 }}
{{- end }}
honorLabels: {{ $monitor.honorLabels }}
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
metricRelabelings:
  - sourceLabels: [exported_namespace]
    regex: (.+)
    targetLabel: namespace
  {{- with $monitor.metricRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "vpce-operator.metricsServiceName" -}}
{{ printf "%s-metrics" (include "vpce-operator.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end -}}

{{/* The container's environment, as a list. The caller leaves out what extraEnv has too: names are unique. */}}
{{- define "vpce-operator.env" -}}
- name: VPCE_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: VPCE_LEASE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: VPCE_LEASE_NAME
  value: {{ include "vpce-operator.fullname" . }}
- name: VPCE_MODE
  value: {{ .Values.mode }}
{{- /* glibc returns the memory of a large response of the API server to the system at once. */}}
- name: MALLOC_ARENA_MAX
  value: "2"
- name: MALLOC_MMAP_THRESHOLD_
  value: "131072"
- name: MALLOC_TRIM_THRESHOLD_
  value: "131072"
{{- include "vpce-operator.settingsEnv" . }}
{{- include "vpce-operator.proxyEnv" . }}
{{- end -}}

{{/* One environment variable per setting that is not empty (false is not empty). */}}
{{- define "vpce-operator.settingsEnv" -}}
{{- $settings := .Values.settings -}}
{{- $limits := list -}}
{{- range $action, $limit := $settings.awsLimits -}}
{{- $limits = append $limits (printf "%s=%s" $action $limit) -}}
{{- end -}}
{{- $dnsLabels := list -}}
{{- range $key, $value := .Values.dnsEndpoints.labels -}}
{{- $dnsLabels = append $dnsLabels (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- $dnsAnnotations := list -}}
{{- range $key, $value := .Values.dnsEndpoints.annotations -}}
{{- $dnsAnnotations = append $dnsAnnotations (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- $variables := list
  (list "AWS_REGION" $settings.awsRegion)
  (list "AWS_USE_FIPS_ENDPOINT" $settings.useFipsEndpoints)
  (list "VPCE_CLUSTER_ID" $settings.clusterId)
  (list "VPCE_ADOPT_FROM" (join "," $settings.adoptFrom))
  (list "VPCE_HEALTH_ADDRESS" $settings.healthAddress)
  (list "VPCE_METRICS_ADDRESS" $settings.metricsAddress)
  (list "VPCE_METRICS_AUTH" (ternary "" "false" .Values.metrics.auth))
  (list "VPCE_METRICS_TLS" (ternary "" "false" .Values.metrics.tls.enabled))
  (list "VPCE_METRICS_CERTIFICATE_DIR" (ternary (include "vpce-operator.certificateDir" .) "" (ne (include "vpce-operator.hasCertificate" .) "")))
  (list "VPCE_LOG_FORMAT" $settings.logFormat)
  (list "VPCE_LOG_LEVEL" $settings.logLevel)
  (list "OTEL_EXPORTER_OTLP_ENDPOINT" $settings.otlpEndpoint)
  (list "VPCE_LEASE_DURATION_SECONDS" $settings.leaseDurationSeconds)
  (list "VPCE_RESYNC_INTERVAL_SECONDS" $settings.resyncIntervalSeconds)
  (list "VPCE_REFRESHES_PER_MINUTE" $settings.refreshesPerMinute)
  (list "VPCE_POLL_INTERVAL_SECONDS" $settings.pollIntervalSeconds)
  (list "VPCE_SETTLE_SECONDS" $settings.settleSeconds)
  (list "VPCE_ACCOUNT_PROBE_INTERVAL_SECONDS" $settings.accountProbeIntervalSeconds)
  (list "VPCE_REFUSED_RETRY_SECONDS" $settings.refusedRetrySeconds)
  (list "VPCE_AWS_LIMITS" (join "," $limits))
  (list "VPCE_ACCOUNT_CONCURRENCY" $settings.accountConcurrency)
  (list "VPCE_WORKER_CONCURRENCY" $settings.workerConcurrency)
  (list "VPCE_METRICS_PER_OBJECT" $settings.metricsPerObject)
  (list "VPCE_SERVICE_LABELS" (join "," $settings.serviceLabels))
  (list "VPCE_SERVICE_ANNOTATIONS" (join "," $settings.serviceAnnotations))
  (list "VPCE_SOURCE_IDENTITY" $settings.sourceIdentity)
  (list "VPCE_DNS_ENDPOINTS" (ternary "true" "" .Values.dnsEndpoints.enabled))
  (list "VPCE_DNS_ENDPOINT_LABELS" (join "," $dnsLabels))
  (list "VPCE_DNS_ENDPOINT_ANNOTATIONS" (join "," $dnsAnnotations))
  (list "VPCE_CLUSTER_DOMAIN" $settings.clusterDomain)
  (list "VPCE_CLUSTER_NAME" $settings.clusterName)
  (list "VPCE_CONFIG_MAPS" (ternary "true" "" .Values.configMaps.enabled))
-}}
{{- range $variable := $variables -}}
{{- $value := index $variable 1 -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if ne (toString $value) "" }}
- name: {{ index $variable 0 }}
  value: {{ toString $value | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The variables of a proxy. Never through it: the API server, the cluster's own names, and the addresses on the node that
hand out credentials (EC2's instance metadata, the agent of EKS Pod Identity).
*/}}
{{- define "vpce-operator.proxyEnv" -}}
{{- $proxy := .Values.proxy -}}
{{- if or $proxy.http $proxy.https -}}
{{- with $proxy.http }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with $proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- $direct := list "$(KUBERNETES_SERVICE_HOST)" "kubernetes.default.svc" ".svc" ".cluster.local" "localhost" "127.0.0.1" -}}
{{- $direct = concat $direct (list "169.254.169.254" "169.254.170.23" "fd00:ec2::254" "fd00:ec2::23") $proxy.noProxy }}
- name: NO_PROXY
  value: {{ join "," $direct | quote }}
{{- end -}}
{{- end -}}
