{{- define "mcp-policy-envoy.name" -}}
{{- .Values.name | default .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "mcp-policy-envoy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mcp-policy-envoy.labels" -}}
{{ include "mcp-policy-envoy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mcp-policy-envoy.makes-secrets" -}}
{{- if or .Values.secrets.session .Values.secrets.approval }}true{{ end -}}
{{- end -}}

{{- define "mcp-policy-envoy.secret" -}}
{{- if include "mcp-policy-envoy.makes-secrets" . }}{{ include "mcp-policy-envoy.name" . }}-secrets{{ else }}{{ .Values.secrets.existing }}{{ end -}}
{{- end -}}

{{/* What was rendered for other paths or ports than this pod's would never get a request, or never a policy. */}}
{{- define "mcp-policy-envoy.check" -}}
{{- $cure := "run `mcp-policy render POLICY.yaml --for envoy` as envoy/kubernetes/README.md has it, and pass what it writes by --set-file" -}}
{{- $envoy := required (printf "`envoy` is empty: %s" $cure) .Values.envoy -}}
{{- $policy := required (printf "`policy` is empty: %s" $cure) .Values.policy -}}
{{- if not (fromYaml $envoy).static_resources -}}
{{- fail (printf "`envoy` has no `static_resources`: it is not the file that Envoy starts with; %s" $cure) -}}
{{- end -}}
{{- if not (fromYaml $policy).resources -}}
{{- fail (printf "`policy` has no `resources`: it is not the file that `--live-out` names, but perhaps the policy itself; %s" $cure) -}}
{{- end -}}
{{- if not (contains "/etc/mcp-policy/mcp_policy.yaml" $envoy) -}}
{{- fail (printf "`envoy` does not read /etc/mcp-policy/mcp_policy.yaml, where the policy is in the pod: render it with `--live /etc/mcp-policy`; %s" $cure) -}}
{{- end -}}
{{- if not (contains "/opt/mcp-policy/plugin.wasm" $policy) -}}
{{- fail (printf "`policy` does not load /opt/mcp-policy/plugin.wasm, where the filter is in the pod: render it with `--wasm /opt/mcp-policy/plugin.wasm`; %s" $cure) -}}
{{- end -}}
{{- range $port := list .Values.port .Values.adminPort -}}
{{- if not (regexMatch (printf "port_value: *%d\\b" (int $port)) $envoy) -}}
{{- fail (printf "`envoy` listens on no port %d: `port` is that of `--listen`, and `adminPort` that of `--admin`" (int $port)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
