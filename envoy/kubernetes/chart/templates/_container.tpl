{{/* Envoy's container: that of envoy/kubernetes/gateway, and a test holds it to that. */}}
{{- define "mcp-policy-envoy.container" -}}
name: envoy
image: {{ .Values.image | quote }}
args:
  - --config-path
  - /etc/envoy/envoy.yaml
  # Metrics alone, for Prometheus. Envoy's admin interface stays on loopback: who reaches it can stop Envoy.
  - --config-yaml
  - |
    static_resources:
      listeners:
        - name: metrics
          address: { socket_address: { address: 0.0.0.0, port_value: {{ .Values.metrics.port }} } }
          filter_chains:
            - filters:
                - name: envoy.filters.network.http_connection_manager
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                    stat_prefix: metrics
                    route_config:
                      virtual_hosts:
                        - name: metrics
                          domains: ["*"]
                          routes:
                            - match: { path: /stats/prometheus, headers: [{ name: ":method", string_match: { exact: GET } }] }
                              route: { cluster: admin }
                            - match: { path: /ready, headers: [{ name: ":method", string_match: { exact: GET } }] }
                              route: { cluster: admin }
                    http_filters:
                      - name: envoy.filters.http.router
                        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
      clusters:
        - name: admin
          type: STATIC
          connect_timeout: 1s
          load_assignment:
            cluster_name: admin
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {{ .Values.adminPort }} } } } }] }]
env:
  # A Secret that is made here is there. One of somebody else's may have one key or none: the filter says what a policy misses.
  {{- $optional := not (include "mcp-policy-envoy.makes-secrets" .) }}
  {{- $secret := include "mcp-policy-envoy.secret" . }}
  {{- if or $optional .Values.secrets.session }}
  - name: MCP_POLICY_SESSION_SECRET
    valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: session-secret, optional: {{ $optional }}}}
  {{- end }}
  {{- if or $optional .Values.secrets.approval }}
  - name: MCP_POLICY_APPROVAL_SECRET
    valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: approval-secret, optional: {{ $optional }}}}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: mcp, containerPort: {{ .Values.port }}}
  - {name: metrics, containerPort: {{ .Values.metrics.port }}}
readinessProbe:
  httpGet: {path: /ready, port: metrics}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- if .Values.server }}
  # The server has users of its own.
  runAsNonRoot: true
  runAsUser: 65534
  {{- end }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: envoy, mountPath: /etc/envoy, readOnly: true}
  # The folder: with subPath a file would never be replaced.
  - {name: policy, mountPath: /etc/mcp-policy, readOnly: true}
  - {name: filter, mountPath: /opt/mcp-policy, readOnly: true}
{{- end -}}

{{- define "mcp-policy-envoy.pod" -}}
{{- $name := include "mcp-policy-envoy.name" . -}}
{{- if not .Values.server }}
automountServiceAccountToken: false
securityContext: {runAsNonRoot: true, runAsUser: 65534, runAsGroup: 65534, seccompProfile: {type: RuntimeDefault}}
{{- end }}
containers:
  {{- with .Values.server }}
  - {{- merge (deepCopy .) (dict "name" "server") | toYaml | nindent 4 }}
  {{- end }}
  - {{- include "mcp-policy-envoy.container" . | nindent 4 }}
volumes:
  - {name: envoy, configMap: {name: {{ $name }}-envoy}}
  - {name: policy, configMap: {name: {{ $name }}-policy}}
  {{- with .Values.filter.volume }}
  - {{- merge (deepCopy .) (dict "name" "filter") | toYaml | nindent 4 }}
  {{- else }}
  - {name: filter, image: {reference: {{ .Values.filter.image | default (printf "ghcr.io/mcp-policy/mcp-policy-filter:%s" .Chart.AppVersion) | quote }}}}
  {{- end }}
  {{- with .Values.pod.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
