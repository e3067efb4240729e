{{- define "groundplane.selector" -}}
app.kubernetes.io/name: groundplane
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "groundplane.labels" -}}
{{ include "groundplane.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: groundplane
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "groundplane.account" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name: name the service account that serviceAccount.create: false leaves to you" }}
{{- end }}
{{- .Values.serviceAccount.name | default "groundplane" }}
{{- end }}

{{- define "groundplane.image" -}}
{{- with .Values.image }}
{{- .repository }}
{{- if and (not .ignoreTag) (not .digest) }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* What the values say together; each message begins with the value to change. */}}
{{- define "groundplane.check" -}}
{{- if and (not .Values.leaderElection) (or (gt (int .Values.replicas) 1) (ne .Values.deploymentStrategy "Recreate")) }}
{{- fail "leaderElection: false needs replicas: 1 and deploymentStrategy: Recreate, or two processes write at once" }}
{{- end }}
{{- if and .Values.crds.adopt (not .Values.crds.install) }}
{{- fail "crds.adopt: needs crds.install" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "podMonitor.enabled and serviceMonitor.enabled: choose one, or everything is scraped twice" }}
{{- end }}
{{- if and .Values.webhooks.enabled (eq (int (.Values.webhooks.port | default 9443)) (int (.Values.metrics.port | default 8080))) }}
{{- fail "webhooks.port: must differ from metrics.port, or one of the two is not served" }}
{{- end }}
{{- range $where := list "customLabels" "podLabels" }}
{{- range list "app" "app.kubernetes.io/name" "app.kubernetes.io/instance" }}
{{- if hasKey (get $.Values $where) . }}
{{- fail (printf "%s.%s: the Pods are selected, and a Crossplane known, by it; choose another label" $where .) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.extraEnvVarsCrossplane }}
{{- if hasPrefix "GROUNDPLANE_" ($name | replace "." "_") }}
{{- fail (printf "extraEnvVarsCrossplane.%s: is a setting; write it below settings, pollInterval for GROUNDPLANE_POLL_INTERVAL" $name) }}
{{- end }}
{{- end }}
{{- $lease := .Values.settings.leaseDuration | default 15 | float64 }}{{ $deadline := .Values.settings.renewDeadline | default 10 | float64 }}
{{- if or (le $lease $deadline) (le $deadline (mulf 1.2 (.Values.settings.retryPeriod | default 2))) }}
{{- fail "settings.leaseDuration: must be above settings.renewDeadline, and that above 1.2 times settings.retryPeriod" }}
{{- end }}
{{- if le (float64 .Values.terminationGracePeriodSeconds) (float64 (.Values.settings.shutdownGrace | default 20)) }}
{{- fail (printf "terminationGracePeriodSeconds: must be above settings.shutdownGrace (%v), or the end is cut short" (.Values.settings.shutdownGrace | default 20)) }}
{{- end }}
{{- end }}

{{/* `aggregated` or `static`. */}}
{{- define "groundplane.rbac" -}}
{{- if and (hasKey .Values.rbacManager "deploy") (not .Values.rbacManager.deploy) }}static{{ else }}{{ .Values.rbac.mode }}{{ end }}
{{- end }}

{{/* "yes" if a monitor of this kind is to be rendered: list of root, its values, its kind. */}}
{{- define "groundplane.monitored" -}}
{{- $root := index . 0 }}{{- $values := index . 1 }}{{- $kind := index . 2 }}
{{- if $values.enabled }}
{{- $served := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" $kind) }}
{{- if and (not $served) (eq $values.renderMode "failIfMissing") }}
{{- fail (printf "%s.renderMode: the cluster has no monitoring.coreos.com/v1 %s" (untitle $kind) $kind) }}
{{- end }}
{{- if or $served (eq $values.renderMode "alwaysRender") }}yes{{ end }}
{{- end }}
{{- end }}

{{/* "yes" if one of the globs of provider.defaultActivations or rbac.activatable matches: list of root, name of a definition. */}}
{{- define "groundplane.activatable" -}}
{{- $root := index . 0 }}{{- $name := index . 1 }}
{{- $found := dict }}
{{- range concat $root.Values.provider.defaultActivations $root.Values.rbac.activatable }}
{{- if regexMatch (printf "^%s$" (. | replace "." "\\." | replace "*" ".*")) $name }}{{ $_ := set $found "yes" true }}{{ end }}
{{- end }}
{{- if $found }}yes{{ end }}
{{- end }}
