//! ClusterRoles that gather the rules of others (`pkg/controller/clusterroleaggregation`).

use serde_json::{Value, json};
use tokensmith_objects::Stored;

use super::Controllers;
use super::queue::{Done, Key};
use crate::Subresource;
use tokensmith_core::access::rbac::{Aggregation, Gathered};
use tokensmith_core::error::Error;
use tokensmith_core::view::{Moved, Snapshot, object_key};

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";
/// As which upstream's controller applies what it has gathered.
const MANAGER: &str = "clusterrole-aggregation-controller";

/// So many selectors are looked at between two rests. A role can have thousands, and so can each change have roles that may
/// gather it.
const AT_ONCE: usize = 1_000;

impl Controllers {
    /// Brings a role that gathers others up to date.
    pub(super) async fn role(&self, name: &str) -> Result<Done, Error> {
        let schema = self.registry.schema();
        let Some(kind) = schema.stored(GROUP, "clusterroles") else { return Ok(Done::default()) };
        let _one = self.gathering.lock().await;
        let snapshot = self.registry.snapshot();
        let Some(rule) = snapshot.gatherer(name) else { return Ok(Done::default()) };
        let role = snapshot.get(GROUP, "clusterroles", "", name);
        let Some(role) = role else { return Ok(Done::default()) };
        let rules = gathered(name, rule, &snapshot).await;
        let there = role.value(&["rules"]);
        if there.as_ref().and_then(Value::as_array).map_or(rules.is_empty(), |there| *there == rules) {
            return Ok(Done::default());
        }
        // It applies them, so whoever applies the role without rules of its own leaves these alone.
        let config = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": {"name": name, "uid": role.uid()}, "rules": rules,
        });
        self.registry.apply_own(MANAGER, kind, name, Subresource::None, config).await?;
        Ok(Done::wrote(true))
    }

    /// The roles that gather one that has changed, as it was or as it is.
    pub(super) fn gatherers(&self, moved: &Moved) -> Vec<Key> {
        gatherers(&self.registry.snapshot(), [moved.old.as_deref(), moved.new.as_deref()])
    }
}

fn gatherers(snapshot: &Snapshot, states: [Option<&Stored>; 2]) -> Vec<Key> {
    let mut looks = 0;
    // Coming in vain does no harm: who would have to be asked for too long comes without having been asked.
    let mut takes =
        |rule: &Aggregation, other: &Stored| looks > AT_ONCE || rule.takes(other, &mut looks).is_some();
    let mut gathers =
        |name: &str, rule: &Aggregation| states.iter().flatten().any(|o| o.name() != name && takes(rule, o));
    let all = snapshot.gatherers().filter(|(name, rule)| gathers(name, rule));
    all.map(|(name, _)| object_key(GROUP, "clusterroles", "", name).into()).collect()
}

/// The rules of the roles that one gathers. Others get their turn meanwhile: what it costs grows with what there is.
async fn gathered(name: &str, rule: &Aggregation, snapshot: &Snapshot) -> Vec<Value> {
    let mut looks = 0;
    let mut taken = Vec::new();
    let all: Vec<_> = snapshot.list(GROUP, "clusterroles", "").map(|(_, role)| role).collect();
    for other in all.into_iter().filter(|other| other.name() != name) {
        taken.extend(rule.takes(&**other, &mut looks).map(|at| (at, other)));
        rest(&mut looks).await;
    }
    // By selector, and those of one in their order.
    taken.sort_by_key(|(at, _)| *at);
    let mut gathered = Gathered::default();
    for (_, other) in taken {
        looks += gathered.add(&other.object());
        rest(&mut looks).await;
    }
    gathered.values()
}

async fn rest(looks: &mut usize) {
    if *looks > AT_ONCE {
        *looks = 0;
        tokio::task::yield_now().await;
    }
}

/// Whether a role gathers others.
pub(super) fn gathers(role: &Stored) -> bool {
    role.raw(&["aggregationRule"]).is_some()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokensmith_objects::Object;

    use super::*;

    fn put(objects: &mut Snapshot, role: Value) {
        let role = Object::from_value(role).unwrap();
        objects.apply(&object_key(GROUP, "clusterroles", "", role.name()), Some(role.into()), 1);
    }

    /// Roles with a label, and one with so many selectors, each of which has to ask each role and takes none.
    fn world(roles: usize, gatherers: usize, selectors: usize) -> Snapshot {
        let mut objects = Snapshot::default();
        for at in 0..roles {
            let role = json!({"metadata": {"name": format!("r{at}"), "labels": {"there": ""}}, "rules": [
                {"apiGroups": [""], "resources": [format!("r{at}")], "verbs": ["get"]}]});
            put(&mut objects, role);
        }
        let none = |at| {
            json!({"matchExpressions": [{"key": "there", "operator": "DoesNotExist"},
            {"key": format!("k{at}"), "operator": "DoesNotExist"}]})
        };
        let mut all: Vec<_> = (0..selectors).map(none).collect();
        all.push(json!({"matchLabels": {"there": ""}}));
        for at in 0..gatherers {
            let role = json!({"metadata": {"name": format!("g{at}"), "labels": {"mine": ""}},
                "aggregationRule": {"clusterRoleSelectors": all}});
            put(&mut objects, role);
        }
        objects
    }

    #[test]
    fn who_gathers_with_many_selectors_from_many_roles_lets_others_on() {
        let objects = world(300, 1, 500);
        let rule = objects.gatherer("g0").unwrap();
        let mut work = pin!(gathered("g0", rule, &objects));
        let mut rests = 0;
        let rules = loop {
            let mut context = Context::from_waker(Waker::noop());
            match work.as_mut().poll(&mut context) {
                std::task::Poll::Ready(rules) => break rules,
                std::task::Poll::Pending => rests += 1,
            }
        };
        assert_eq!(rules.len(), 300);
        assert!((75..=151).contains(&rests), "{rests} rests over 150,000 looks");
    }

    #[test]
    fn a_changed_role_asks_only_so_many_selectors_who_gathers_it() {
        let objects = world(1, 20, 300);
        let changed = |value| {
            gatherers(&objects, [None, Some(&Stored::from(&Object::from_value(value).unwrap()))]).len()
        };
        assert_eq!(changed(json!({"metadata": {"name": "x", "labels": {"there": ""}}})), 20);
        // Those that were not asked come.
        let asked = 20 - changed(json!({"metadata": {"name": "x", "labels": {"there": "x", "k": ""}}}));
        assert!((1..=5).contains(&asked), "{asked} were asked");
        assert_eq!(changed(json!({"metadata": {"name": "g0"}})), 19, "all but itself");
    }
}
