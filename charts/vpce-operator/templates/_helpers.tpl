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

{{/* CEL: whether `key` is one of a list of keys, where those that end in * stand for all that begin so; ends with "||". */}}
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

{{/* The port of settings.httpAddress, or the operator's default. */}}
{{- define "vpce-operator.httpPort" -}}
{{- regexFind "[0-9]+$" (toString .Values.settings.httpAddress) | default "8080" -}}
{{- end -}}

{{/* One environment variable per setting that is not empty (false is not empty). */}}
{{- define "vpce-operator.settingsEnv" -}}
{{- $settings := .Values.settings -}}
{{- $limits := list -}}
{{- range $action, $limit := $settings.awsLimits -}}
{{- $limits = append $limits (printf "%s=%s" $action $limit) -}}
{{- end -}}
{{- $variables := list
  (list "AWS_REGION" $settings.awsRegion)
  (list "VPCE_CLUSTER_ID" $settings.clusterId)
  (list "VPCE_ADOPT_FROM" (join "," $settings.adoptFrom))
  (list "VPCE_HTTP_ADDRESS" $settings.httpAddress)
  (list "VPCE_LOG_FORMAT" $settings.logFormat)
  (list "VPCE_LOG_LEVEL" $settings.logLevel)
  (list "VPCE_LEASE_DURATION_SECONDS" $settings.leaseDurationSeconds)
  (list "VPCE_RESYNC_INTERVAL_SECONDS" $settings.resyncIntervalSeconds)
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
