//! Tolerations of a pod and of its runtime class as one list (`pkg/util/tolerations`).

use std::collections::HashSet;

use serde_json::Value;

/// Each is looked at beside each other as long as there are so few; of more, only equal ones are merged.
const FEW: usize = 500;

/// Without those that another one of them covers; of equal ones the first stays.
pub(super) fn merge(all: Vec<Value>) -> Vec<Value> {
    if all.len() > FEW {
        let mut seen = HashSet::new();
        return all.into_iter().filter(|one| seen.insert(one.to_string())).collect();
    }
    let mut merged: Vec<&Value> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let later = || all.iter().skip(at).skip(1).filter(|other| *other != one);
        if !merged.iter().copied().chain(later()).any(|other| covers(other, one)) {
            merged.push(one);
        }
    }
    merged.into_iter().cloned().collect()
}

/// Whether what one tolerates is all that the other does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    if wide == narrow {
        return true;
    }
    let operator = text(wide, "operator");
    // Without a key it tolerates all keys and values.
    let every = text(wide, "key").is_empty() && operator == "Exists";
    if text(wide, "key") != text(narrow, "key") && !every {
        return false;
    }
    let effect = text(wide, "effect");
    if !effect.is_empty() && effect != text(narrow, "effect") {
        return false;
    }
    let seconds = |one: &Value| one["tolerationSeconds"].as_i64();
    if effect == "NoExecute"
        && let Some(wide) = seconds(wide)
        && seconds(narrow).is_none_or(|narrow| narrow > wide)
    {
        return false;
    }
    match operator {
        "Equal" | "" => text(narrow, "operator") == "Equal" && text(wide, "value") == text(narrow, "value"),
        "Exists" => true,
        _ => false,
    }
}

fn text<'a>(one: &'a Value, field: &str) -> &'a str {
    one[field].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_another_one_covers_falls_out() {
        let all = json!({"operator": "Exists"});
        let key = json!({"key": "a", "operator": "Exists"});
        let value = json!({"key": "a", "operator": "Equal", "value": "v"});
        let brief = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        for (given, want) in [
            (vec![&value, &key], vec![&key]),
            (vec![&key, &value, &key], vec![&key]),
            (vec![&brief, &long], vec![&long]),
            (vec![&long, &brief, &value], vec![&long, &value]),
            (vec![&value, &brief, &all], vec![&all]),
        ] {
            let merged = merge(given.iter().copied().cloned().collect());
            assert_eq!(merged.iter().collect::<Vec<_>>(), want, "{given:?}");
        }
        let many =
            (0..20_000).map(|n| json!({"key": format!("k{}", n % 10_000), "operator": "Exists"})).collect();
        assert_eq!(merge(many).len(), 10_000);
    }
}
