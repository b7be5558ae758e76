#!/usr/bin/env python3
"""Writes dashboards/*.json for Grafana. The panels are below, one line each; what they all have in common is here.

usage: generate.py [--check]     --check: changes nothing, fails if a file is not what this would write
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 7


def target(expression, legend, ref):
    return {"datasource": SOURCE, "editorMode": "code", "expr": expression, "legendFormat": legend,
            "range": True, "refId": ref}


def panel(title, unit, queries, *, width=8, help="", kind="timeseries", thresholds=(), most=None):
    """A panel; `queries` are pairs of a legend and an expression."""
    steps = [{"color": "green", "value": None}, *({"color": colour, "value": at} for at, colour in thresholds)]
    defaults = {"color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"}, "mappings": [],
                "min": 0, "thresholds": {"mode": "absolute", "steps": steps}, "unit": unit}
    if most is not None:
        defaults["max"] = most
    if kind == "timeseries":
        defaults["custom"] = {"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never",
                              "spanNulls": False, "stacking": {"group": "A", "mode": "none"},
                              "thresholdsStyle": {"mode": "line" if thresholds else "off"}}
        options = {"legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom",
                              "showLegend": True},
                   "tooltip": {"mode": "multi", "sort": "desc"}}
    else:
        options = {"colorMode": "background", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
                   "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "auto"}
    targets = [target(expression, legend, chr(ord("A") + n)) for n, (legend, expression) in enumerate(queries)]
    return {"title": title, "description": help, "type": kind, "datasource": SOURCE, "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options, "width": width}


def stat(title, unit, expression, **more):
    return panel(title, unit, [("", expression)], width=more.pop("width", 4), kind="stat", **more)


def row(title):
    return {"title": title, "type": "row", "collapsed": False, "panels": [], "width": WIDTH}


def placed(panels):
    """Panels from left to right, in lines."""
    x = y = line = 0
    for number, each in enumerate(panels, 1):
        width = each.pop("width")
        height = 1 if each["type"] == "row" else 4 if each["type"] == "stat" else HEIGHT
        if x + width > WIDTH:
            x, y, line = 0, y + line, 0
        each |= {"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}}
        x, line = x + width, max(line, height)
        yield each


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query,
            "query": {"query": query, "refId": "A"}, "refresh": 2, "sort": 1, "includeAll": True, "multi": True,
            "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [],
            "hide": 0, "regex": "", "skipUrlSync": False}


def dashboard(uid, title, panels, variables=()):
    return {"uid": uid, "title": title, "tags": ["llmo"], "timezone": "", "editable": True, "schemaVersion": 39,
            "version": 1, "refresh": "10s", "time": {"from": "now-30m", "to": "now"}, "graphTooltip": 1,
            "annotations": {"list": [{"name": "Alerts", "type": "dashboard", "enable": True, "iconColor": "red",
                                      "datasource": SOURCE, "titleFormat": "{{alertname}}",
                                      "expr": 'ALERTS{alertstate="firing"}', "step": "10s"}]},
            "links": [{"title": "llmo", "type": "dashboards", "tags": ["llmo"], "asDropdown": True, "icon":
                       "external link", "includeVars": True, "keepTime": True, "targetBlank": False,
                       "tooltip": "", "url": ""}],
            "templating": {"list": list(variables)}, "panels": list(placed(panels))}


def quantiles(metric, by="", where=""):
    """The median, the 95th and the 99th percentile of a histogram."""
    groups, prefix = (f", {by}", "{{" + by + "}} ") if by else ("", "")
    return [(f"{prefix}p{q}", f"histogram_quantile(0.{q}, sum by (le{groups}) "
             f"(rate({metric}_bucket{{{where}}}[$__rate_interval])))") for q in (50, 95, 99)]


def rate(metric, by="", where=""):
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({metric}{{{where}}}[$__rate_interval]))"


# Series that begin with the first event: until then their rate is none, which is 0 for whoever reads it.
def rate_or_0(metric, where=""):
    return f"{rate(metric, where=where)} or vector(0)"


DURATION = "gen_ai_client_operation_duration_seconds"
FIRST = "gen_ai_client_operation_time_to_first_chunk_seconds"
TEXT = 'gen_ai_operation_name=~"chat|text_completion"'
MODEL = 'model=~"$model"'
DISK = 'fstype!~"tmpfs|overlay|squashfs|ramfs"'

OVERVIEW = [
    stat("Services up", "short", "sum(up)", help="Of everything that Prometheus collects from"),
    stat("Alerts", "short", 'count(ALERTS{alertstate="firing"}) or vector(0)', thresholds=[(1, "red")]),
    stat("Requests", "reqps", rate(f"{DURATION}_count")),
    stat("Failures", "percentunit", "llmo:request_failures:ratio_rate5m", thresholds=[(0.005, "orange"), (0.05, "red")],
         help="Requests that ended through no fault of their callers, of all in five minutes"),
    stat("p95 to the first token", "s", f"histogram_quantile(0.95, sum by (le) (rate({FIRST}_bucket{{{TEXT}}}[5m])))",
         thresholds=[(2, "orange"), (5, "red")]),
    stat("Tokens generated", "short", "sum(rate(gen_ai_client_token_usage_sum{gen_ai_token_type=\"output\"}[$__rate_interval]))",
         help="A second, over all models, answers from the cache included"),
    row("Rate, errors, duration"),
    panel("Requests by operation", "reqps", [("{{gen_ai_operation_name}}", rate(f"{DURATION}_count", "gen_ai_operation_name"))]),
    panel("Requests by how they ended", "reqps", [("{{error_type}} (none: answered)", rate(f"{DURATION}_count", "error_type"))]),
    panel("Duration of requests", "s", quantiles(DURATION, where='error_type=""')),
    panel("Time to the first token", "s", quantiles(FIRST, where=TEXT)),
    panel("Responses by status", "reqps", [("{{http_response_status_code}}",
          rate("http_server_request_duration_seconds_count", "http_response_status_code", 'job="gateway", http_route!~"/metrics|/livez|/readyz"'))]),
    panel("Share of the error budget being used", "short", [
        ("5 min", "llmo:request_failures:ratio_rate5m / 0.005"), ("1 h", "llmo:request_failures:ratio_rate1h / 0.005"),
        ("6 h", "llmo:request_failures:ratio_rate6h / 0.005")], thresholds=[(6, "orange"), (14.4, "red")],
        help="1: exactly what 99.5 % allows"),
    row("Services"),
    panel("Answers to Prometheus", "short", [("{{job}} {{instance}}", "up")], width=8, most=1),
    panel("Memory", "bytes", [("{{job}} {{instance}}", "process_resident_memory_bytes")]),
    panel("Processor", "percentunit", [("{{job}} {{instance}}", "rate(process_cpu_seconds_total[$__rate_interval])")],
          help="1: one core"),
]

MODELS = [
    stat("Models in memory", "short", "sum(llmo_models_loaded)"),
    stat("Slots in use", "percentunit", f"sum(llmo_running_requests{{{MODEL}}}) / sum(llmo_slots{{{MODEL}}})",
         thresholds=[(0.8, "orange"), (1, "red")]),
    stat("Waiting", "short", f"sum(llmo_queue_requests{{{MODEL}}})", thresholds=[(4, "orange"), (16, "red")]),
    stat("KV cache", "percentunit", f"max(llmo_kv_cache_usage_ratio{{{MODEL}}})", thresholds=[(0.8, "orange"), (0.9, "red")]),
    stat("Loads that failed", "short", f"sum(llmo_model_load_failed{{{MODEL}}})", thresholds=[(1, "red")]),
    stat("Engines' deaths", "short", "sum(increase(llmo_engine_restarts_total[1h])) or vector(0)", thresholds=[(1, "orange")],
         help="In the last hour"),
    row("Latency"),
    panel("Time to the first token", "s", quantiles("gen_ai_server_time_to_first_token_seconds", "gen_ai_response_model",
          f'{TEXT}, gen_ai_response_model=~"$model"')),
    panel("Between two tokens", "s", quantiles("llmo_inter_token_seconds", "model", f'job!="gateway", {MODEL}'),
          help="As the model service sends them"),
    panel("For each further token", "s", quantiles("gen_ai_server_time_per_output_token_seconds", "gen_ai_response_model",
          'gen_ai_response_model=~"$model"'), help="Mean of a request"),
    panel("Where the time goes", "s", [(name, f"sum(rate(llmo_request_{name}_seconds_sum{{job!=\"gateway\", {MODEL}}}[$__rate_interval]))"
          f" / (sum(rate(llmo_request_{name}_seconds_count{{job!=\"gateway\", {MODEL}}}[$__rate_interval])) > 0)")
          for name in ("queue", "prefill", "decode")], help="Mean time of a generation"),
    panel("Duration of requests", "s", quantiles("gen_ai_server_request_duration_seconds", "gen_ai_response_model",
          'error_type="", gen_ai_response_model=~"$model"')),
    panel("Loading", "s", [("{{model}} {{instance}}", f"llmo_model_load_duration_seconds{{{MODEL}}}")], help="The last time"),
    row("Throughput"),
    panel("Tokens a second", "short", [("generated, {{model}}", rate("llmo_decode_tokens_total", "model", MODEL)),
                                      ("prompts read, {{model}}", rate("llmo_prefill_tokens_total", "model", MODEL))]),
    panel("Streams decoded together", "short", [("{{model}} {{instance}}", f"llmo_running_requests{{{MODEL}}}"),
                                                ("slots {{model}} {{instance}}", f"llmo_slots{{{MODEL}}}")], help="The batch size"),
    panel("Guessed ahead", "short", [("guessed", rate("llmo_draft_tokens_total", where=MODEL)),
                                    ("right", rate("llmo_draft_accepted_tokens_total", where=MODEL))],
          help="Tokens a second, speculative decoding"),
    row("Queue and memory"),
    panel("Waiting", "short", [("requests, {{model}} {{instance}}", f"llmo_queue_requests{{{MODEL}}}"),
                              ("prompt tokens, {{model}} {{instance}}", f"llmo_queue_tokens{{{MODEL}}}")]),
    panel("KV cache", "percentunit", [("{{model}} {{instance}}", f"llmo_kv_cache_usage_ratio{{{MODEL}}}")], most=1,
          thresholds=[(0.9, "red")]),
    panel("Prompt tokens found in the prefix cache", "percentunit", [
        ("{{model}}", f"sum by (model) (rate(llmo_prefix_cache_hits_total{{{MODEL}}}[$__rate_interval])) "
         f"/ clamp_min(sum by (model) (rate(llmo_prefix_cache_queries_total{{{MODEL}}}[$__rate_interval])), 1e-9)")], most=1),
]

GATEWAY = [
    stat("Replicas in use", "short", "sum(llmo_backend_up)"),
    stat("Replicas out", "short", "count(llmo_backend_up == 0) or vector(0)", thresholds=[(1, "orange")]),
    stat("Ejected", "short", "sum(llmo_circuit_state)", thresholds=[(1, "red")]),
    stat("At replicas", "short", "sum(llmo_backend_in_flight)", help="Requests that run there now"),
    stat("Streams continued", "short", 'sum(increase(llmo_stream_continuations_total{outcome="continued"}[1h])) or vector(0)',
         help="In the last hour: their replica went away, and nobody noticed"),
    stat("Streams broken", "short", 'sum(increase(llmo_stream_continuations_total{outcome="failed"}[1h])) or vector(0)',
         thresholds=[(1, "red")], help="In the last hour: no other replica could go on"),
    row("Replicas"),
    panel("Usable", "short", [("{{replica}}", "llmo_backend_up")], most=1),
    panel("Requests at replicas", "short", [("{{replica}}", "llmo_backend_in_flight")]),
    panel("Changes", "short", [("{{event}}", "sum by (event) (increase(llmo_backend_events_total[$__rate_interval]))")]),
    row("Failover"),
    panel("Second attempts", "reqps", [("all", rate_or_0("llmo_backend_retries_total")),
          ("forbidden by the budget", rate("llmo_backend_retry_budget_exhausted_total"))]),
    panel("Broken streams", "reqps", [("continued", rate_or_0("llmo_stream_continuations_total", 'outcome="continued"')),
                                     ("ended", rate_or_0("llmo_stream_continuations_total", 'outcome="failed"'))]),
    panel("Hedges", "reqps", [("sent to a second replica too", rate_or_0("llmo_hedges_total")),
                              ("and served by it", rate_or_0("llmo_hedges_won_total"))],
          help="Off unless gateway.hedge_percentile is set"),
    panel("Added by the gateway", "s", [("mean", "sum(rate(gen_ai_client_operation_time_to_first_chunk_seconds_sum[$__rate_interval]))"
          " / sum(rate(gen_ai_client_operation_time_to_first_chunk_seconds_count[$__rate_interval]))"
          " - sum(rate(gen_ai_server_time_to_first_token_seconds_sum[$__rate_interval]))"
          " / sum(rate(gen_ai_server_time_to_first_token_seconds_count[$__rate_interval]))")],
          help="To the first token; below zero where the response cache answers"),
    row("Load"),
    panel("Waiting at the gateway", "short", [("{{model}} {{instance}}", "llmo_gateway_queued_requests")],
          help="For their turn: no replica has room"),
    panel("Let through, and how many may be", "short", [("{{model}} {{instance}}", "llmo_gateway_running_requests"),
          ("limit {{model}} {{instance}}", "llmo_gateway_concurrency_limit")]),
    panel("Tenants' limits counted locally", "reqps", [("requests", rate_or_0("llmo_limits_local_total"))],
          help="Redis did not answer: each gateway counts for itself"),
    panel("Refused before anything was done", "reqps", [("at the gateway", rate_or_0("llmo_admission_rejections_total", 'job="gateway"')),
          ("at model services", rate_or_0("llmo_admission_rejections_total", 'job="model-service"'))]),
    panel("Without response headers so far", "short", [("{{job}} {{instance}}", "http_server_active_requests")]),
    panel("HTTP by route", "reqps", [("{{http_route}}", rate("http_server_request_duration_seconds_count", "http_route", 'job="gateway"'))]),
    row("Routes"),
    panel("Requests for which a route decided", "reqps", [("all", rate_or_0("llmo_route_requests_total"))], width=12),
    panel("Went on to the next model of their route", "reqps", [("all", rate_or_0("llmo_route_fallbacks_total"))], width=12),
    row("Configuration"),
    panel("Replicas found", "short", [("{{provider}}", "sum by (provider) (llmo_discovered_replicas)")], width=12),
    panel("Changes", "short", [("{{provider}} {{outcome}}", "sum by (provider, outcome) (increase(llmo_config_reloads_total[$__rate_interval]))")], width=12),
    panel("Last change is in use", "short", [
        ("{{job}}", "llmo_config_last_reload_successful or llmo_tls_last_reload_successful or prometheus_config_last_reload_successful "
         "or alertmanager_config_last_reload_successful")], most=1, width=12),
    panel("Versions", "short", [("{{version}}", "count by (version) (llmo_build_info)")], width=12),
]

CACHE = [
    stat("Answers from the cache", "percentunit", 'sum(rate(llmo_response_cache_requests_total{result="hit"}[5m])) '
         "/ clamp_min(sum(rate(llmo_response_cache_requests_total[5m])), 1e-9)", help="Of all requests in five minutes"),
    stat("Tokens saved", "short", "sum(increase(llmo_cache_saved_tokens_total[1h]))", help="In the last hour"),
    stat("Failed lookups", "short", "sum(increase(llmo_response_cache_lookup_failures_total[5m]))", thresholds=[(1, "orange")]),
    stat("Damaged entries", "short", "sum(increase(llmo_response_cache_corrupt_total[1h]))", thresholds=[(1, "red")]),
    stat("Stored", "bytes", "sum(llmo_storage_bytes)"),
    stat("Objects", "short", "sum(llmo_storage_objects)"),
    row("Response cache"),
    panel("Requests by what the cache did", "reqps", [("{{result}}", rate("llmo_response_cache_requests_total", "result"))]),
    panel("Trouble", "reqps", [("lookups", rate("llmo_response_cache_lookup_failures_total")),
                              ("writes", rate("llmo_response_cache_write_failures_total")),
                              ("damaged", rate("llmo_response_cache_corrupt_total"))]),
    panel("Tokens saved a second", "short", [("tokens", rate("llmo_cache_saved_tokens_total"))]),
    row("Caches"),
    panel("Gets", "reqps", [("hits {{job}} {{tier}}", rate("llmo_cache_hits_total", "job, tier")),
                           ("misses {{job}} {{tier}}", rate("llmo_cache_misses_total", "job, tier"))]),
    panel("Size", "bytes", [("{{job}} {{tier}}", "sum by (job, tier) (llmo_cache_bytes)")]),
    panel("Entries, and those removed", "short", [("{{job}} {{tier}}", "sum by (job, tier) (llmo_cache_entries)"),
          ("removed a second {{job}} {{tier}}", rate("llmo_cache_evictions_total", "job, tier"))]),
    row("Services"),
    panel("Requests", "reqps", [("{{job}} {{http_route}}", rate("http_server_request_duration_seconds_count", "job, http_route",
          'job=~"cache-service|storage-service"'))]),
    panel("Duration", "s", quantiles("http_server_request_duration_seconds", "job", 'job=~"cache-service|storage-service"')),
    panel("Stored", "bytes", [("{{instance}}", "llmo_storage_bytes")]),
]

REDIS = [
    row("Redis"),
    panel("Memory", "bytes", [("{{instance}}", "redis_memory_used_bytes")]),
    panel("Commands", "ops", [("{{instance}}", "rate(redis_commands_processed_total[$__rate_interval])")]),
    panel("Evicted and expired", "ops", [("evicted", "rate(redis_evicted_keys_total[$__rate_interval])"),
                                        ("expired", "rate(redis_expired_keys_total[$__rate_interval])")]),
]

HOST = [
    stat("Processor", "percentunit", '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', width=6,
         thresholds=[(0.8, "orange"), (0.95, "red")]),
    stat("Memory", "percentunit", "1 - min(node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", width=6,
         thresholds=[(0.8, "orange"), (0.95, "red")]),
    stat("Fullest disk", "percentunit", f"1 - min(node_filesystem_avail_bytes{{{DISK}}} / node_filesystem_size_bytes)", width=6,
         thresholds=[(0.8, "orange"), (0.95, "red")]),
    stat("Up for", "s", "min(time() - node_boot_time_seconds)", width=6),
    row("Host"),
    panel("Processor by mode", "percentunit", [("{{mode}}", 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval])) '
          '/ scalar(count(node_cpu_seconds_total{mode="idle"}))')]),
    panel("Load", "short", [("1 min", "node_load1"), ("cores", 'count by (instance) (node_cpu_seconds_total{mode="idle"})')]),
    panel("Memory", "bytes", [("available", "node_memory_MemAvailable_bytes"), ("page cache", "node_memory_Cached_bytes"),
                             ("all", "node_memory_MemTotal_bytes")]),
    panel("Disks: room", "bytes", [("{{mountpoint}}", f"node_filesystem_avail_bytes{{{DISK}}}")]),
    panel("Disks: traffic", "Bps", [("read {{device}}", "rate(node_disk_read_bytes_total[$__rate_interval])"),
                                   ("written {{device}}", "rate(node_disk_written_bytes_total[$__rate_interval])")]),
    panel("Network", "Bps", [("in {{device}}", 'rate(node_network_receive_bytes_total{device!="lo"}[$__rate_interval])'),
                            ("out {{device}}", 'rate(node_network_transmit_bytes_total{device!="lo"}[$__rate_interval])')]),
    row("llmo's processes"),
    panel("Memory", "bytes", [("{{job}} {{instance}}", 'process_resident_memory_bytes{job=~"gateway|.*-service|llmo"}')]),
    panel("Processor", "percentunit", [("{{job}} {{instance}}", 'rate(process_cpu_seconds_total{job=~"gateway|.*-service|llmo"}[$__rate_interval])')]),
    panel("Open files", "short", [("{{job}} {{instance}}", 'process_open_fds{job=~"gateway|.*-service|llmo"}')]),
]

ENGINES = [
    panel("Memory of engines", "bytes", [("{{model}} {{instance}}", "llmo_engine_resident_memory_bytes")], width=12,
          help="Each llama.cpp engine is a process of its own"),
    panel("Engines answer", "short", [("{{model}} {{instance}}", "llmo_engine_up")], width=12, most=1),
]

CONTAINERS = [
    panel("Memory", "bytes", [("{{name}}", 'container_memory_working_set_bytes{name!=""}')]),
    panel("Memory, of the limit", "percentunit", [("{{name}}", 'container_memory_working_set_bytes{name!=""} '
          '/ (container_spec_memory_limit_bytes{name!=""} > 0)')], thresholds=[(0.9, "red")]),
    panel("Processor", "percentunit", [("{{name}}", 'sum by (name) (rate(container_cpu_usage_seconds_total{name!=""}[$__rate_interval]))')]),
    panel("Throttled", "percentunit", [("{{name}}", 'sum by (name) (rate(container_cpu_cfs_throttled_periods_total{name!=""}[$__rate_interval])) '
          '/ (sum by (name) (rate(container_cpu_cfs_periods_total{name!=""}[$__rate_interval])) > 0)')]),
    panel("Network", "Bps", [("in {{name}}", 'sum by (name) (rate(container_network_receive_bytes_total{name!=""}[$__rate_interval]))'),
                            ("out {{name}}", 'sum by (name) (rate(container_network_transmit_bytes_total{name!=""}[$__rate_interval]))')]),
    panel("Started", "s", [("{{name}}", 'time() - container_start_time_seconds{name!=""}')], help="Seconds since"),
]

MODEL_VARIABLE = [variable("model", "Model", "label_values(llmo_slots, model)")]
DASHBOARDS = {
    "overview": dashboard("llmo-overview", "llmo: overview", OVERVIEW),
    "models": dashboard("llmo-models", "llmo: models", MODELS, MODEL_VARIABLE),
    "engines": dashboard("llmo-engines", "llmo: engines", ENGINES),
    "gateway": dashboard("llmo-gateway", "llmo: gateway", GATEWAY),
    "cache-and-storage": dashboard("llmo-cache", "llmo: cache and storage", CACHE),
    "redis": dashboard("llmo-redis", "llmo: Redis", REDIS),
    "host": dashboard("llmo-host", "llmo: host", HOST),
    "containers": dashboard("llmo-containers", "llmo: containers", CONTAINERS),
}


def main():
    stale = []
    for name, content in DASHBOARDS.items():
        path, text = HERE / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        if "--check" in sys.argv:
            stale += [] if path.exists() and path.read_text() == text else [path.name]
        else:
            path.write_text(text)
    stale += [path.name for path in HERE.glob("*.json") if path.stem not in DASHBOARDS]
    if stale:
        sys.exit(f"not what monitoring/grafana/generate.py would write: {', '.join(stale)}; run it")


if __name__ == "__main__":
    main()
