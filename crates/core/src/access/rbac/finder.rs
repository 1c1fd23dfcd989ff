//! The rules of a large role, found by what is asked for.
//!
//! Each rule is filed under the values of one of its lists: the one whose values are rarest in the role. A request looks at
//! the rules that are filed under its own verb, group, resource, name or path.

use std::collections::HashMap;

use super::Rule;
use crate::access::Attributes;

#[derive(Default)]
pub(super) struct Finder {
    filed: [HashMap<String, Vec<u32>>; LISTS],
    /// Rules that each of their lists opens to everything.
    always: Vec<u32>,
}

const LISTS: usize = 5;
/// A role of fewer rules is read.
const LARGE: usize = 32;

impl Finder {
    /// `None` for a role that is not large.
    pub(super) fn of(rules: &[Rule]) -> Option<Self> {
        if rules.len() < LARGE {
            return None;
        }
        let mut counts: [HashMap<&str, usize>; LISTS] = Default::default();
        for rule in rules {
            for (count, list) in counts.iter_mut().zip(lists(rule)) {
                list.iter().for_each(|value| *count.entry(value).or_default() += 1);
            }
        }
        let mut finder = Finder::default();
        for (at, rule) in rules.iter().enumerate() {
            let rarest = (0..LISTS).filter(|i| selects(rule, *i)).min_by_key(|i| {
                let count = |value: &String| counts[*i].get(value.as_str()).copied().unwrap_or(0);
                lists(rule)[*i].iter().map(count).max()
            });
            let Some(list) = rarest else {
                finder.always.push(at as u32);
                continue;
            };
            for value in lists(rule)[list] {
                let filed = finder.filed[list].entry(value.clone()).or_default();
                if filed.last() != Some(&(at as u32)) {
                    filed.push(at as u32);
                }
            }
        }
        Some(finder)
    }

    /// The places of all rules that may allow what is asked.
    pub(super) fn candidates(&self, a: &Attributes) -> impl Iterator<Item = usize> {
        let of = |list: usize, value: &str| self.filed[list].get(value).into_iter().flatten();
        let resource = match a.subresource.is_empty() {
            true => a.resource.clone(),
            false => format!("{}/{}", a.resource, a.subresource),
        };
        let any = (!a.subresource.is_empty()).then(|| format!("*/{}", a.subresource));
        let any = any.into_iter().flat_map(move |any| of(2, &any));
        let found = of(0, &a.verb).chain(of(1, &a.group)).chain(of(2, &resource)).chain(any);
        let found = found.chain(of(3, &a.name)).chain(of(4, &a.path)).chain(&self.always);
        found.map(|at| *at as usize).collect::<Vec<_>>().into_iter()
    }
}

fn lists(rule: &Rule) -> [&Vec<String>; LISTS] {
    [&rule.verbs, &rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls]
}

/// Whether a rule allows only what is in one of its lists, word by word.
fn selects(rule: &Rule, list: usize) -> bool {
    // A rule on paths is not found by what resources have; of one on both, which validation refuses, all requests have a verb.
    let (paths, resources) = (!rule.non_resource_urls.is_empty(), !rule.resources.is_empty());
    if (paths && (1..4).contains(&list)) || (resources && list == 4) {
        return false;
    }
    let values = lists(rule)[list];
    let open = |value: &String| match list {
        4 => value.ends_with('*'),
        3 => false,
        _ => value == "*",
    };
    !values.is_empty() && !values.iter().any(open)
}
