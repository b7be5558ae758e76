//! The two text forms that scrapers read, and which of them one gets.

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a scrape with this OpenMetrics text, or with the same in Prometheus' older form, which is what `curl` and
/// `promtool check metrics` get: only those who accept OpenMetrics understand its counters.
pub(super) fn respond(headers: &HeaderMap, openmetrics: String) -> Response {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepts.into_iter().any(|accept| accept.contains("application/openmetrics-text")) {
        return ([(CONTENT_TYPE, OPENMETRICS)], openmetrics).into_response();
    }
    ([(CONTENT_TYPE, PLAIN)], plain(&openmetrics)).into_response()
}

/// OpenMetrics in Prometheus' older text form: counters are named as their samples are, an info is a gauge, and there is
/// no end mark.
pub(super) fn plain(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    // Comes before the type, which decides on the name.
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { continue };
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                out.push_str(&format!("# HELP {name}{suffix} {text}\n"));
            }
            out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_one_name_and_an_info_is_a_gauge() {
        let openmetrics = "# HELP a Things.\n# TYPE a counter\na_total{x=\"1\"} 2\n# HELP b Build.\n# TYPE b info\n\
                           b_info{v=\"1\"} 1\n# HELP c Time.\n# TYPE c histogram\nc_sum 1.0\n# EOF\n";
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n# HELP b_info Build.\n\
                        # TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP c Time.\n# TYPE c histogram\nc_sum 1.0\n";
        assert_eq!(plain(openmetrics), expected);
    }
}
