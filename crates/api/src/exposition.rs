//! What metrics look like: OpenMetrics, as the library writes it, and the classic text format of Prometheus, which is what
//! Kubernetes' servers speak, what people see, and what tools such as `promtool check metrics` read.

use crate::media;

/// The type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of the classic format.
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics that were written as OpenMetrics, and their type, in the format that an `Accept` header prefers: the classic one
/// unless the other is asked for.
pub fn negotiated(accept: Option<&str>, text: String) -> (&'static str, String) {
    let accept = accept.unwrap_or("");
    match media::weigh(accept, "application/openmetrics-text") {
        Some(open) if media::weigh(accept, "text/plain").is_none_or(|plain| plain <= open) => {
            (OPENMETRICS, text)
        }
        _ => (CLASSIC, classic(&text)),
    }
}

/// The same metrics in the classic format. There a counter's help and type are of its whole name, and neither units nor an
/// end are known.
///
/// ```
/// use tokensmith_api::exposition::classic;
///
/// let text = "# HELP a_b Said.\n# TYPE a_b counter\na_b_total{c=\"d\"} 1\n# EOF\n";
/// let want = "# HELP a_b_total Said.\n# TYPE a_b_total counter\na_b_total{c=\"d\"} 1\n";
/// assert_eq!(classic(text), want);
/// ```
pub fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(1024));
    let mut help = None;
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            // It goes before the type, which says what the name is.
            help = said.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' '))
        {
            let (more, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, said)) = help.take().filter(|(of, _)| *of == name) {
                out.push_str(&format!("# HELP {name}{more} {said}\n"));
            }
            out.push_str(&format!("# TYPE {name}{more} {kind}\n"));
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
    fn the_format_is_the_one_that_is_preferred() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1";
        for (accept, want) in [
            (None, CLASSIC),
            (Some(""), CLASSIC),
            (Some("*/*"), CLASSIC),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), CLASSIC),
            (Some("application/json"), CLASSIC),
            (Some("text/plain"), CLASSIC),
            (Some("application/openmetrics-text"), OPENMETRICS),
            (Some("Application/OpenMetrics-Text; version=1.0.0, */*"), OPENMETRICS),
            (Some("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.2"), CLASSIC),
            (Some("application/openmetrics-text;q=0"), CLASSIC),
            (Some(prometheus), OPENMETRICS),
        ] {
            assert_eq!(negotiated(accept, String::new()).0, want, "{accept:?}");
        }
    }

    #[test]
    fn only_counters_change_their_name() {
        let text = "# HELP a Said \\\\ so.\n# TYPE a gauge\n# UNIT a seconds\na 1\n# HELP b_seconds Long.\n# TYPE b_seconds histogram\n\
                    b_seconds_sum 0.0\nb_seconds_count 0\nb_seconds_bucket{le=\"+Inf\"} 0\n# HELP c None yet.\n# TYPE c counter\n# EOF\n";
        let want = "# HELP a Said \\\\ so.\n# TYPE a gauge\na 1\n# HELP b_seconds Long.\n# TYPE b_seconds histogram\n\
                    b_seconds_sum 0.0\nb_seconds_count 0\nb_seconds_bucket{le=\"+Inf\"} 0\n# HELP c_total None yet.\n# TYPE c_total counter\n";
        assert_eq!(classic(text), want);
    }
}
