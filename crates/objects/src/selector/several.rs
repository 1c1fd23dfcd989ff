//! Several label selectors of which the first one is looked for that takes an object.

use std::collections::HashMap;

use super::label::Anchor;
use super::{LabelSelector, Selectable};

/// Label selectors, found by a label that each asks for. An object costs what its own labels lead to, and not what all
/// selectors are: only those that ask for no label at all, or for the same one, are looked at one by one.
#[derive(Clone, Debug, Default)]
pub struct LabelSelectors {
    all: Vec<LabelSelector>,
    /// By label and value.
    by_value: HashMap<String, HashMap<String, Vec<usize>>>,
    /// By label, with whatever value.
    by_key: HashMap<String, Vec<usize>>,
    others: Vec<usize>,
}

impl LabelSelectors {
    /// Sorts selectors by what they ask for: as much work as they are long.
    pub fn new(all: Vec<LabelSelector>) -> Self {
        let mut sorted = LabelSelectors::default();
        for (at, selector) in all.iter().enumerate() {
            match selector.anchor() {
                Anchor::Values(key, values) => {
                    let by_value = sorted.by_value.entry(key.to_owned()).or_default();
                    values.iter().for_each(|value| by_value.entry(value.clone()).or_default().push(at));
                }
                Anchor::Key(key) => sorted.by_key.entry(key.to_owned()).or_default().push(at),
                Anchor::None => sorted.others.push(at),
            }
        }
        LabelSelectors { all, ..sorted }
    }

    /// The place of the first one that takes an object. `looks` grows by the labels and selectors that were looked at.
    pub fn first(&self, object: &impl Selectable, looks: &mut usize) -> Option<usize> {
        let mut likely = self.others.clone();
        object.labels(&mut |key, value| {
            let by_value = self.by_value.get(key).and_then(|values| values.get(value));
            likely.extend(by_value.into_iter().chain(self.by_key.get(key)).flatten());
            *looks += 1;
        });
        likely.sort_unstable();
        let takes = |at: &usize| {
            *looks += 1;
            self.all[*at].matches(object)
        };
        likely.into_iter().find(takes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::Object;

    fn labelled(labels: Value) -> Object {
        Object::from_value(json!({"metadata": {"labels": labels}})).unwrap()
    }

    fn several(texts: &[String]) -> LabelSelectors {
        LabelSelectors::new(texts.iter().map(|text| LabelSelector::parse(text).unwrap()).collect())
    }

    #[test]
    fn an_object_looks_at_the_selectors_that_its_labels_lead_to() {
        let texts: Vec<_> = (0..10_000).map(|n| format!("to=s{n},!other{n}")).collect();
        let (selectors, mut looks) = (several(&texts), 0);
        for n in 0..10_000 {
            assert_eq!(
                selectors.first(&labelled(json!({"to": format!("s{n}"), "b": ""})), &mut looks),
                Some(n)
            );
        }
        assert_eq!(looks, 30_000, "two labels and one selector each");
    }

    proptest! {
        #[test]
        fn the_first_is_the_one_that_each_in_turn_would_find(
            texts in prop::collection::vec(
                prop::collection::vec("(!?[ab])|([ab](=|!=)[xy])|([ab] in \\([xy],[yz]\\))|([ab]>1)", 0..3)
                    .prop_map(|terms| terms.join(",")),
                0..8,
            ),
            labels in prop::collection::btree_map("[abc]", "[xyz2]", 0..3),
        ) {
            let object = labelled(json!(labels));
            let alone = |text: &String| LabelSelector::parse(text).unwrap().matches(&object);
            prop_assert_eq!(several(&texts).first(&object, &mut 0), texts.iter().position(alone));
        }
    }
}
