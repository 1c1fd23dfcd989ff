//! A `metav1.LabelSelector` in the words that queries have, as a scale and the tables tell it.

use serde_json::Value;
use tokensmith_api::json;

use super::LabelSelector;

/// A selector of an object, or labels alone as older kinds have them; `None` if it is none.
pub fn written(selector: &Value) -> Option<String> {
    let Some(map) = selector.as_object() else { return Some(String::new()) };
    if !map.contains_key("matchLabels") && !map.contains_key("matchExpressions") {
        return Some(labels(selector));
    }
    LabelSelector::from_value(selector).ok()?;
    Some(words(selector))
}

/// Labels in order.
pub(crate) fn labels(labels: &Value) -> String {
    let all = of_labels(labels).into_iter().map(|(_, text)| text);
    all.collect::<Vec<_>>().join(",")
}

/// A selector's requirements in the order of their keys.
pub(crate) fn words(selector: &Value) -> String {
    let mut all = of_labels(&selector["matchLabels"]);
    for one in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = one["key"].as_str().unwrap_or("");
        let mut values: Vec<_> =
            one["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let text = match one["operator"].as_str().unwrap_or("") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        all.push((key, text));
    }
    all.sort_by_key(|(key, _)| *key);
    all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

fn of_labels(labels: &Value) -> Vec<(&str, String)> {
    let pairs = labels.as_object().map(json::sorted).into_iter().flatten();
    pairs.map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or("")))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_is_written_as_queries_have_it() {
        for (selector, want) in [
            (json!(null), Some("")),
            (json!({}), Some("")),
            (json!({"b": "2", "a": "1"}), Some("a=1,b=2")),
            (
                json!({"matchLabels": {"m": ""}, "matchExpressions": [
                    {"key": "z", "operator": "NotIn", "values": ["b", "a"]}, {"key": "e", "operator": "Exists"},
                    {"key": "a", "operator": "DoesNotExist"}, {"key": "i", "operator": "In", "values": ["x"]},
                ]}),
                Some("!a,e,i in (x),m=,z notin (a,b)"),
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "Within"}]}), None),
        ] {
            assert_eq!(written(&selector).as_deref(), want, "{selector}");
        }
    }
}
