//! What a pod's containers ask for together (component-helpers `resource/helpers.go`).

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::validate::resources;
use crate::kinds::look::{entries, list};
use crate::{Object, quantity};

/// Amounts by the names of their resources.
pub type Amounts<'a> = HashMap<&'a str, String>;

/// What one container asks for.
type Asked<'a> = Vec<(&'a str, &'a str)>;

/// The sum of what containers request or may use at most (`which`), as far as they run at once.
pub fn together<'a>(spec: &'a Value, which: &str) -> Amounts<'a> {
    sum(spec, &|container, _| written(&container["resources"], which))
}

/// What a whole pod requests or may use at most: of a container that its node has begun to give more or less than is written
/// now, the greater; what is said of the pod as a whole in the place of its containers' sum; and its overhead.
pub fn of_pod<'a>(pod: &'a Object, which: &str) -> Amounts<'a> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let status = pod.get("status").unwrap_or(&Value::Null);
    let of = |field| list(status, field).iter().filter(|status| !status["resources"].is_null());
    let given: HashMap<&str, &Value> = ["containerStatuses", "initContainerStatuses"]
        .into_iter()
        .flat_map(of)
        .map(|status| (text(&status["name"]), status))
        .collect();
    // A change that no node can make is none.
    let infeasible = list(status, "conditions")
        .iter()
        .any(|condition| condition["type"] == "PodResizePending" && condition["reason"] == "Infeasible");
    let mut sum = sum(spec, &|container, runs_on| {
        let asked = written(&container["resources"], which);
        let Some(given) = given.get(text(&container["name"])).filter(|_| runs_on) else { return asked };
        let mut all = if infeasible { Vec::new() } else { asked };
        all.extend(written(&given["resources"], which));
        if which == "requests" {
            all.extend(written(given, "allocatedResources"));
        }
        greatest(all)
    });
    let whole = written(&spec["resources"], which);
    whole
        .into_iter()
        .filter(|(name, _)| resources::is_of_pods(name))
        .for_each(|(name, amount)| drop(sum.insert(name, amount.to_owned())));
    for (name, amount) in written(spec, "overhead") {
        // Who has no limit gets none by it.
        let limited = || sum.get(name).is_some_and(|sum| quantity::compare(sum, "0").is_ne());
        if which == "requests" || limited() {
            add(&mut sum, name, amount);
        }
    }
    sum
}

/// Whether a pod as a whole asks for something.
pub fn asks_as_a_whole(spec: &Value) -> bool {
    let names = |which| entries(&spec["resources"], which).map(|(name, _)| name);
    names("requests").chain(names("limits")).any(|name| resources::is_of_pods(name))
}

/// `asked`: what a container asks for, by whether it runs on once it has been started.
fn sum<'a>(spec: &'a Value, asked: &dyn Fn(&'a Value, bool) -> Asked<'a>) -> Amounts<'a> {
    let mut sum = Amounts::new();
    for container in list(spec, "containers") {
        asked(container, true).into_iter().for_each(|(name, amount)| add(&mut sum, name, amount));
    }
    // Init containers run one by one before the others, beside those before them that keep running.
    let (mut beside, mut most) = (Amounts::new(), Amounts::new());
    for container in list(spec, "initContainers") {
        let runs_on = container["restartPolicy"] == "Always";
        for (name, amount) in asked(container, runs_on) {
            if runs_on {
                add(&mut sum, name, amount);
                add(&mut beside, name, amount);
                raise(&mut most, name, Cow::Borrowed(&beside[name]));
            } else {
                let others = beside.get(name).map_or("0", String::as_str);
                raise(&mut most, name, quantity::add(amount, others).into());
            }
        }
    }
    most.into_iter().for_each(|(name, amount)| raise(&mut sum, name, amount.into()));
    sum
}

fn written<'a>(resources: &'a Value, which: &str) -> Asked<'a> {
    entries(resources, which).map(|(name, amount)| (name.as_str(), text(amount))).collect()
}

/// Each resource once.
fn greatest(all: Asked<'_>) -> Asked<'_> {
    let mut greatest: HashMap<&str, &str> = HashMap::new();
    for (name, amount) in all {
        let there = greatest.entry(name).or_insert(amount);
        if quantity::compare(amount, there).is_gt() {
            *there = amount;
        }
    }
    greatest.into_iter().collect()
}

fn add<'a>(sum: &mut Amounts<'a>, name: &'a str, amount: &str) {
    match sum.get_mut(name) {
        Some(sum) => *sum = quantity::add(sum, amount),
        None => drop(sum.insert(name, amount.to_owned())),
    }
}

fn raise<'a>(most: &mut Amounts<'a>, name: &'a str, amount: Cow<'_, str>) {
    match most.get_mut(name) {
        Some(before) if quantity::compare(&amount, before).is_gt() => *before = amount.into_owned(),
        Some(_) => {}
        None => drop(most.insert(name, amount.into_owned())),
    }
}

fn text(amount: &Value) -> &str {
    amount.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(pod: Value, which: &str) -> Vec<String> {
        let pod = Object::from_value(pod).unwrap();
        let mut all: Vec<_> =
            of_pod(&pod, which).into_iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        all.sort();
        all
    }

    #[test]
    fn a_pod_counts_what_it_has_until_less_is_given() {
        let cpu =
            |requests: &str, limits: &str| json!({"requests": {"cpu": requests}, "limits": {"cpu": limits}});
        let mut pod = json!({
            "spec": {
                "overhead": {"cpu": "10m", "memory": "1Mi"},
                "containers": [
                    {"name": "a", "resources": cpu("100m", "1")}, {"name": "b", "resources": cpu("200m", "1")},
                ],
                "initContainers": [{"name": "i", "resources": cpu("5", "5")}],
            },
            "status": {"containerStatuses": [
                {"name": "a", "allocatedResources": {"cpu": "300m"}, "resources": cpu("2", "3")},
                {"name": "b", "allocatedResources": {"cpu": "9"}},
            ], "initContainerStatuses": [{"name": "i", "resources": cpu("50", "50")}]},
        });
        assert_eq!(shown(pod.clone(), "requests"), ["cpu=5010m", "memory=1Mi"]);
        assert_eq!(shown(pod.clone(), "limits"), ["cpu=5010m"], "overhead is added to limits that there are");
        pod["spec"]["initContainers"] = json!([]);
        assert_eq!(shown(pod.clone(), "requests"), ["cpu=2210m", "memory=1Mi"]);
        assert_eq!(shown(pod.clone(), "limits"), ["cpu=4010m"]);
        pod["spec"]["containers"][0]["resources"] = cpu("7", "7");
        assert_eq!(shown(pod.clone(), "requests"), ["cpu=7210m", "memory=1Mi"]);
        pod["status"]["conditions"] = json!([{"type": "PodResizePending", "reason": "Infeasible"}]);
        assert_eq!(shown(pod.clone(), "requests"), ["cpu=2210m", "memory=1Mi"]);
        pod["spec"]["resources"] = json!({"requests": {"cpu": "20", "example.com/x": "1"}});
        assert_eq!(shown(pod.clone(), "requests"), ["cpu=20010m", "memory=1Mi"]);
        assert!(asks_as_a_whole(&pod["spec"]));
        pod["spec"]["resources"] = json!({"requests": {"example.com/x": "1"}});
        assert!(!asks_as_a_whole(&pod["spec"]));
    }
}
