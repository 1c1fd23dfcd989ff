//! What containers, pods and claims of a namespace may ask for, and what they get who ask for nothing
//! (`plugin/pkg/admission/limitranger`).

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::error::Error;
use tokensmith_objects::field::Findings;
use tokensmith_objects::quantity::Amount;
use tokensmith_objects::{Object, pod, quantity};

use super::{is_made, is_stored};

/// Goes by the limit ranges of the namespace.
pub(super) struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const CLAIMS: &str = "persistentvolumeclaims";

impl Admission for LimitRanger {
    /// What a pod asks for does not change later, but by `/resize`.
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, ("", "pods"))
            || (write.is_of("", "pods") && write.subresource == "resize")
            || (write.is_of("", CLAIMS) && write.subresource.is_empty() && is_stored(write))
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let Some(pod) = new.filter(|_| write.resource == "pods") else { return Ok(()).into() };
        let all = limits(write);
        bearable(write, pod, &all).map(|()| all.iter().for_each(|limits| fill(pod, limits))).into()
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |new| judge(write, new)).into()
    }
}

/// `spec.limits` of each limit range of the namespace.
fn limits(write: &Write<'_>) -> Vec<Value> {
    let ranges = write.objects.list("", "limitranges", write.namespace);
    ranges.filter_map(|(_, range)| range.value(&["spec", "limits"])).collect()
}

/// So many amounts are set or judged: two objects that are as large as a request may be would make a third as large as their
/// product.
const MOST: usize = 200_000;

/// Refuses what would take too long and become too large. A limit is looked at for each container, also one that says nothing.
fn bearable(write: &Write<'_>, pod: &Object, limits: &[Value]) -> Result<(), Error> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let containers = count(&spec["containers"]).saturating_add(count(&spec["initContainers"]));
    let limits = limits.iter().flat_map(|limits| limits.as_array().into_iter().flatten());
    let amounts = |limit: &Value| FIELDS.iter().map(|field| entries(&limit[*field]).count()).sum::<usize>();
    let amounts = limits.fold(0usize, |sum, limit| sum.saturating_add(amounts(limit)).saturating_add(1));
    match containers.saturating_mul(amounts) > MOST {
        true => {
            let cause = format!("{containers} containers have too many limits: {amounts} amounts for each");
            Err(write.forbidden(Some(pod), cause))
        }
        false => Ok(()),
    }
}

const FIELDS: [&str; 5] = ["default", "defaultRequest", "max", "maxLimitRequestRatio", "min"];

/// Gives each container what it does not ask for itself, and says so.
fn fill(pod: &mut Object, limits: &Value) {
    let (mut requests, mut most) = (Map::new(), Map::new());
    for limit in of_type(limits, "Container") {
        requests
            .extend(entries(&limit["defaultRequest"]).map(|(name, amount)| (name.clone(), amount.clone())));
        most.extend(entries(&limit["default"]).map(|(name, amount)| (name.clone(), amount.clone())));
    }
    let mut told = Vec::new();
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers =
            pod.0.get_mut("spec").and_then(|spec| spec.get_mut(field)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for (which, given, word) in [("requests", &requests, "request"), ("limits", &most, "limit")] {
                let set = add(container, which, given);
                if !set.is_empty() {
                    let name = container["name"].as_str().unwrap_or("");
                    told.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.set(&["metadata", "annotations", ANNOTATION], text);
    }
}

/// Adds amounts of resources that are not named; gives their names in order.
fn add(container: &mut Value, which: &str, given: &Map<String, Value>) -> Vec<String> {
    let there = container["resources"][which].as_object();
    let missing: BTreeMap<_, _> =
        given.iter().filter(|(name, _)| there.is_none_or(|there| !there.contains_key(*name))).collect();
    for (name, amount) in &missing {
        container["resources"][which][name.as_str()] = (*amount).clone();
    }
    missing.into_keys().cloned().collect()
}

fn judge(write: &Write<'_>, new: &Object) -> Result<(), Error> {
    if write.operation == Operation::Update && new.deletion_timestamp().is_some() {
        return Ok(());
    }
    let all = limits(write);
    bearable(write, new, &all)?;
    let whole = OnceCell::new();
    for limits in all {
        let mut told = Told::default();
        match write.resource {
            CLAIMS => claim(&mut told, new, &limits),
            _ => containers_and_pod(&mut told, new, &whole, &limits),
        }
        match &told.finish()[..] {
            [] => {}
            [one] => return Err(write.forbidden(Some(new), one.as_str())),
            all => return Err(write.forbidden(Some(new), format!("[{}]", all.join(", ")))),
        }
    }
    Ok(())
}

/// What is wrong, each text once, as Go's aggregate has it; only so many are made.
#[derive(Default)]
struct Told {
    texts: Vec<String>,
    known: HashSet<String>,
    more: usize,
}

impl Told {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.texts.len() >= Findings::MOST {
            self.more = self.more.saturating_add(1);
            return;
        }
        let text = text();
        if self.known.insert(text.clone()) {
            self.texts.push(text);
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.texts.push(format!("... and {} more", self.more));
        }
        self.texts
    }
}

fn claim(told: &mut Told, claim: &Object, limits: &Value) {
    let resources = claim.at(&["spec", "resources", "requests"]).unwrap_or(&Value::Null);
    let asked = |name: &str| resources[name].as_str();
    for limit in of_type(limits, "PersistentVolumeClaim") {
        let used = Used { of: "PersistentVolumeClaim", asked: &asked, most: &|_| None };
        bounds(&limit["min"]).iter().for_each(|bound| used.least(told, bound));
        for bound in bounds(&limit["max"]) {
            let text = || format!("maximum {} usage per PersistentVolumeClaim is {}", bound.name, bound.text);
            match asked(bound.name) {
                None => told.add(|| format!("{}.  No request is specified", text())),
                Some(asked) if bound.order(asked).is_gt() => {
                    told.add(|| format!("{}, but request is {asked}", text()));
                }
                Some(_) => {}
            }
        }
    }
}

/// What a pod's containers ask for together, and may use at most.
type Whole<'a> = OnceCell<(pod::Amounts<'a>, pod::Amounts<'a>)>;

fn containers_and_pod<'a>(told: &mut Told, pod: &'a Object, whole: &Whole<'a>, limits: &Value) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    for limit in of_type(limits, "Container").map(Limit::of) {
        for field in ["containers", "initContainers"] {
            for container in spec[field].as_array().into_iter().flatten() {
                let amount =
                    |which: &'static str| move |name: &str| container["resources"][which][name].as_str();
                let (asked, most) = (amount("requests"), amount("limits"));
                Used { of: "Container", asked: &asked, most: &most }.judge(told, &limit);
            }
        }
    }
    for limit in of_type(limits, "Pod").map(Limit::of) {
        let together = || (pod::together(spec, "requests"), pod::together(spec, "limits"));
        let (requests, most) = whole.get_or_init(together);
        let asked = |name: &str| requests.get(name).map(String::as_str);
        let most = |name: &str| most.get(name).map(String::as_str);
        Used { of: "Pod", asked: &asked, most: &most }.judge(told, &limit);
    }
}

/// What a limit says of one resource, read once.
struct Bound<'a> {
    name: &'a str,
    text: &'a str,
    amount: Amount,
}

impl Bound<'_> {
    /// Whether an amount is more than this, or less.
    fn order(&self, amount: &str) -> Ordering {
        Amount::of(amount).against(&self.amount)
    }
}

struct Limit<'a> {
    least: Vec<Bound<'a>>,
    most: Vec<Bound<'a>>,
    ratios: Vec<Bound<'a>>,
}

impl<'a> Limit<'a> {
    fn of(limit: &'a Value) -> Self {
        let [least, most, ratios] = ["min", "max", "maxLimitRequestRatio"].map(|field| bounds(&limit[field]));
        Limit { least, most, ratios }
    }
}

/// What something asks for and may use at most, by the names of resources.
struct Used<'a> {
    of: &'a str,
    asked: &'a dyn Fn(&str) -> Option<&'a str>,
    most: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl Used<'_> {
    fn judge(&self, told: &mut Told, limit: &Limit<'_>) {
        limit.least.iter().for_each(|bound| self.least(told, bound));
        limit.most.iter().for_each(|bound| self.most(told, bound));
        limit.ratios.iter().for_each(|bound| self.ratio(told, bound));
    }

    fn least(&self, told: &mut Told, bound: &Bound<'_>) {
        let text = || format!("minimum {} usage per {} is {}", bound.name, self.of, bound.text);
        let below = |amount: &&str| bound.order(amount).is_lt();
        let Some(asked) = (self.asked)(bound.name) else {
            return told.add(|| format!("{}.  No request is specified", text()));
        };
        if below(&asked) {
            return told.add(|| format!("{}, but request is {asked}", text()));
        }
        if let Some(most) = (self.most)(bound.name).filter(below) {
            told.add(|| format!("{}, but limit is {most}", text()));
        }
    }

    fn most(&self, told: &mut Told, bound: &Bound<'_>) {
        let text = || format!("maximum {} usage per {} is {}", bound.name, self.of, bound.text);
        let above = |amount: &&str| bound.order(amount).is_gt();
        let Some(most) = (self.most)(bound.name) else {
            return told.add(|| format!("{}.  No limit is specified", text()));
        };
        if above(&most) {
            return told.add(|| format!("{}, but limit is {most}", text()));
        }
        if let Some(asked) = (self.asked)(bound.name).filter(above) {
            told.add(|| format!("{}, but request is {asked}", text()));
        }
    }

    fn ratio(&self, told: &mut Told, bound: &Bound<'_>) {
        let text = || format!("{} max limit to request ratio per {} is {}", bound.name, self.of, bound.text);
        let given =
            |amount: Option<&str>| amount.and_then(quantity::milli_value).filter(|amount| *amount != 0);
        let Some(asked) = given((self.asked)(bound.name)) else {
            return told.add(|| format!("{}, but no request is specified or request is 0", text()));
        };
        let Some(most) = given((self.most)(bound.name)) else {
            return told.add(|| format!("{}, but no limit is specified or limit is 0", text()));
        };
        let observed = most as f64 / asked as f64;
        let allowed = quantity::milli_value(bound.text).unwrap_or(0) as f64 / 1000.0;
        if observed > allowed {
            told.add(|| format!("{}, but provided ratio is {observed:.6}", text()));
        }
    }
}

fn of_type<'a>(limits: &'a Value, of: &'a str) -> impl Iterator<Item = &'a Value> {
    limits.as_array().into_iter().flatten().filter(move |limit| limit["type"] == of)
}

fn entries(amounts: &Value) -> impl Iterator<Item = (&String, &Value)> {
    amounts.as_object().into_iter().flatten()
}

/// Amounts in the order of their names.
fn bounds(amounts: &Value) -> Vec<Bound<'_>> {
    let mut all = Vec::new();
    for (name, amount) in entries(amounts) {
        let text = amount.as_str().unwrap_or("");
        all.push(Bound { name, text, amount: Amount::of(text) });
    }
    all.sort_unstable_by_key(|bound| bound.name);
    all
}
