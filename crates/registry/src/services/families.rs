//! How many addresses a service is to have, and of which families (`initIPFamilyFields`).

use serde_json::{Value, json};
use tokensmith_objects::kinds::service::{NONE, Needs, addresses};
use tokensmith_objects::{FieldError, Findings, Object};

use super::{Family, ServiceRanges};

const POLICY: &str = "spec.ipFamilyPolicy";
const SINGLE: &str = "SingleStack";

/// Completes what a service says, or tells what cannot be.
pub(super) fn complete(service: &mut Object, old: Option<&Object>, ranges: &ServiceRanges) -> Findings {
    let mut found = Findings::default();
    if !Needs::of(service).cluster_ip() {
        return found;
    }
    // One that prefers two families does not get the other one, nor lose it, because the server's ranges have changed.
    if old.is_some_and(|old| prefers_what_it_has(service, old)) {
        return found;
    }
    let selectorless = service.str_at(&["spec", "clusterIP"]) == NONE && none(service, "selector");
    if service.at(&["spec", "ipFamilyPolicy"]).is_none() {
        let before = old.and_then(|old| old.at(&["spec", "ipFamilyPolicy"])).cloned();
        let usual = if selectorless { "RequireDualStack" } else { SINGLE };
        service.set(&["spec", "ipFamilyPolicy"], before.unwrap_or_else(|| usual.into()));
    }
    addresses(&mut found, service);
    if !found.is_empty() {
        return found;
    }
    let single = service.str_at(&["spec", "ipFamilyPolicy"]) == SINGLE;
    let policy: Value = service.str_at(&["spec", "ipFamilyPolicy"]).into();
    let refuse = |found: &mut Findings, detail: &str| {
        found.push(|| FieldError::invalid(POLICY, &policy, detail));
    };
    for (field, word) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let (now, before) = (items(service, field), old.map_or(&[][..], |old| items(old, field)));
        if single && now.len() > 1 && now == before {
            let first = now[0].clone();
            service.set(&["spec", field], json!([first]));
        } else if !single && before.len() > now.len() && !now.is_empty() {
            refuse(&mut found, &format!("must be 'SingleStack' to release the secondary {word}"));
        }
    }
    for (field, word) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if single && items(service, field).len() == 2 {
            let detail =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {word} are specified");
            refuse(&mut found, &detail);
        }
    }
    infer(&mut found, service, ranges);
    if !found.is_empty() {
        return found;
    }
    let mut families: Vec<String> =
        items(service, "ipFamilies").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if families.is_empty() && (selectorless || single) {
        families.push(ranges.default_family().as_str().into());
    }
    if !selectorless {
        if policy == "RequireDualStack" && ranges.addresses.len() < 2 {
            refuse(&mut found, "this cluster is not configured for dual-stack services");
        }
        for (index, family) in
            families.iter().enumerate().filter(|(_, family)| ranges.of(Family::read(family)).is_none())
        {
            let field = format!("spec.ipFamilies[{index}]");
            let family = family.as_str().into();
            found.push(|| FieldError::invalid(field, &family, "not configured on this cluster"));
        }
        if !found.is_empty() {
            return found;
        }
        if families.is_empty() {
            families.push(ranges.default_family().as_str().into());
        }
    }
    if !single && families.len() == 1 && (selectorless || ranges.addresses.len() == 2) {
        families.push(Family::read(&families[0]).other().as_str().into());
    }
    service.set(&["spec", "ipFamilies"], families);
    found
}

/// Families that follow from addresses.
fn infer(found: &mut Findings, service: &mut Object, ranges: &ServiceRanges) {
    let ips = items(service, "clusterIPs").to_vec();
    let mut families = items(service, "ipFamilies").to_vec();
    for (index, ip) in ips.iter().enumerate().skip(families.len()) {
        let Some(ip) = ip.as_str().and_then(|ip| ip.parse().ok()) else { break };
        let family = Family::of(ip);
        match ranges.of(family) {
            Some(_) => families.push(family.as_str().into()),
            None => {
                let detail = format!("{} is not configured on this cluster", family.as_str());
                let all = ips.clone().into();
                found.push(|| FieldError::invalid(format!("spec.clusterIPs[{index}]"), &all, detail));
            }
        }
    }
    if !families.is_empty() {
        service.set(&["spec", "ipFamilies"], families);
    }
}

/// Whether it prefers two families, as before, and says nothing else of its addresses than before.
fn prefers_what_it_has(service: &Object, old: &Object) -> bool {
    let prefers = |service: &Object| service.str_at(&["spec", "ipFamilyPolicy"]) == "PreferDualStack";
    let kind = |service: &Object| service.str_at(&["spec", "type"]).to_owned();
    Needs::of(old).cluster_ip()
        && kind(service) == kind(old)
        && prefers(service)
        && prefers(old)
        && ["clusterIPs", "ipFamilies"].iter().all(|field| {
            let (now, before) = (items(service, field), items(old, field));
            !now.is_empty() && now == before
        })
}

fn items<'a>(service: &'a Object, field: &str) -> &'a [Value] {
    service.at(&["spec", field]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn none(service: &Object, field: &str) -> bool {
    service.at(&["spec", field]).and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(all: &[&str]) -> ServiceRanges {
        let addresses = all.iter().map(|range| range.parse().unwrap()).collect();
        ServiceRanges { addresses, ..ServiceRanges::default() }
    }

    fn service(mut spec: Value) -> Object {
        if spec.get("type").is_none() {
            spec["type"] = "ClusterIP".into();
        }
        Object::from_value(json!({ "spec": spec })).unwrap()
    }

    /// The families that a service gets, or what is wrong.
    fn completed(spec: Value, old: Option<Value>, ranges: &ServiceRanges) -> Result<Value, Vec<String>> {
        let mut service = service(spec);
        let old = old.map(self::service);
        let found = complete(&mut service, old.as_ref(), ranges);
        match found.is_empty() {
            true => Ok(json!([service.at(&["spec", "ipFamilyPolicy"]), service.at(&["spec", "ipFamilies"])])),
            false => Err(found.told().iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn families_follow_from_what_a_service_says_and_the_server_has() {
        let (one, two) = (ranges(&["10.0.0.0/24"]), ranges(&["fd00::/112", "10.0.0.0/24"]));
        let policy = |policy: &str| json!({ "ipFamilyPolicy": policy });
        let is = |policy: &str, families: &[&str]| Ok(json!([policy, families]));
        assert_eq!(completed(json!({}), None, &two), is("SingleStack", &["IPv6"]));
        assert_eq!(completed(policy("PreferDualStack"), None, &one), is("PreferDualStack", &["IPv4"]));
        assert_eq!(
            completed(policy("PreferDualStack"), None, &two),
            is("PreferDualStack", &["IPv6", "IPv4"])
        );
        let named = json!({"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "ipFamilyPolicy": "RequireDualStack"});
        assert_eq!(completed(named.clone(), None, &two), is("RequireDualStack", &["IPv4", "IPv6"]));
        let wrong = "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services";
        assert_eq!(completed(named, None, &one), Err(vec![wrong.into()]));
        // Without an address or a selector it leads wherever its endpoints are.
        let headless = json!({"clusterIP": "None", "clusterIPs": ["None"]});
        assert_eq!(completed(headless, None, &one), is("RequireDualStack", &["IPv4", "IPv6"]));
        assert_eq!(completed(json!({"type": "ExternalName"}), None, &one), Ok(json!([null, null])));
    }

    #[test]
    fn a_second_family_goes_with_the_policy_alone() {
        let two = ranges(&["10.0.0.0/24", "fd00::/112"]);
        let both = |policy: &str, kind: &str| json!({"type": kind, "ipFamilyPolicy": policy, "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9", "fd00::9"], "ipFamilies": ["IPv4", "IPv6"]});
        let old = || Some(both("PreferDualStack", "ClusterIP"));
        assert_eq!(
            completed(both("SingleStack", "ClusterIP"), old(), &two),
            Ok(json!(["SingleStack", ["IPv4"]]))
        );
        let other = json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.0.0.8", "clusterIPs": ["10.0.0.8"], "ipFamilies": ["IPv6"]});
        let refused = completed(other, old(), &two).unwrap_err();
        let released = |what: &str| {
            format!(
                "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the secondary {what}"
            )
        };
        assert!(refused.iter().any(|text| text.starts_with("spec.clusterIPs[0]: ")), "{refused:?}");
        let other = json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.0.0.8", "clusterIPs": ["10.0.0.8"], "ipFamilies": ["IPv4"]});
        assert_eq!(completed(other, old(), &two), Err(vec![released("cluster IP"), released("IP family")]));
        // One that prefers two keeps what it has, whatever the server has now, unless it becomes another kind of service.
        let one = ranges(&["10.0.0.0/24"]);
        let kept = Ok(json!(["PreferDualStack", ["IPv4", "IPv6"]]));
        assert_eq!(completed(both("PreferDualStack", "ClusterIP"), old(), &one), kept);
        let not = completed(both("PreferDualStack", "NodePort"), old(), &one).unwrap_err();
        assert_eq!(not, ["spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster"]);
    }
}
