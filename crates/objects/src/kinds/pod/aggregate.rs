//! What a pod's containers ask for together.

use std::collections::HashMap;

use serde_json::Value;

use crate::quantity;

/// Amounts by the names of their resources.
pub type Amounts<'a> = HashMap<&'a str, String>;

/// The sum of what containers request or may use at most (`which`), as far as they run at once.
pub fn together<'a>(spec: &'a Value, which: &str) -> Amounts<'a> {
    let containers = |field: &str| spec[field].as_array().into_iter().flatten();
    let asked = |container: &'a Value| container["resources"][which].as_object().into_iter().flatten();
    let mut sum = Amounts::new();
    for container in containers("containers") {
        asked(container).for_each(|(name, amount)| add(&mut sum, name, text(amount)));
    }
    // Init containers run one by one before the others, beside those before them that keep running.
    let (mut beside, mut most) = (Amounts::new(), Amounts::new());
    for container in containers("initContainers") {
        for (name, amount) in asked(container) {
            if container["restartPolicy"] == "Always" {
                add(&mut sum, name, text(amount));
                add(&mut beside, name, text(amount));
                raise(&mut most, name, beside[&**name].clone());
            } else {
                let others = beside.get(&**name).map_or("0", String::as_str);
                raise(&mut most, name, quantity::add(text(amount), others));
            }
        }
    }
    most.into_iter().for_each(|(name, amount)| raise(&mut sum, name, amount));
    sum
}

fn add<'a>(sum: &mut Amounts<'a>, name: &'a str, amount: &str) {
    match sum.get_mut(name) {
        Some(sum) => *sum = quantity::add(sum, amount),
        None => drop(sum.insert(name, amount.to_owned())),
    }
}

fn raise<'a>(most: &mut Amounts<'a>, name: &'a str, amount: String) {
    let before = most.entry(name).or_insert_with(|| amount.clone());
    if quantity::compare(&amount, before).is_gt() {
        *before = amount;
    }
}

fn text(amount: &Value) -> &str {
    amount.as_str().unwrap_or("")
}
