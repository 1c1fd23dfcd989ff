//! The permissions that somebody lacks, as error texts list them (`pkg/registry/rbac/validation`, `CompactRules`): one
//! combination each, but that the verbs on a resource without names stand together; sorted, each once.

use std::collections::{BTreeSet, HashMap};

use super::Rule;
use super::cover::{Missing, Part};

/// Collects them up to a bound: a rule of 2 KB can lack a million.
#[derive(Default)]
pub(super) struct Listed<'a> {
    rules: Vec<Rule>,
    /// Group and resource → place in `rules`.
    simple: HashMap<(&'a str, &'a str), usize>,
    bytes: usize,
    full: bool,
}

/// So much of texts is listed, and what each combination costs beside its texts.
const BYTES: usize = 256 << 10;
const EACH: usize = 32;
/// The line in place of the rest.
const MORE: &str = "(and more, which are not listed)";

impl<'a> Listed<'a> {
    /// Nothing is lacking.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// No more is listed.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Adds what is missing of one rule.
    pub(super) fn add(&mut self, rule: &'a Rule, missing: &[Missing]) {
        for part in [Part::Resources, Part::Paths] {
            let boxes: Vec<_> = missing.iter().filter(|m| m.part == part).map(|m| &m.places).collect();
            let lists = match part {
                Part::Paths => [&rule.non_resource_urls, &rule.verbs, &NONE, &NONE],
                Part::Resources => [&rule.api_groups, &rule.resources, &rule.verbs, &rule.resource_names],
            };
            for at in self.take(&boxes, part, lists) {
                // No value stands where the rule has no list.
                let [a, b, c, d] = std::array::from_fn(|i| lists[i].get(at[i]).map(String::as_str));
                match part {
                    Part::Paths => self.path(a, b),
                    Part::Resources => self.resource([a, b, c, d]),
                }
            }
        }
    }

    /// The text, a line each; `cut`: there may be more.
    pub(super) fn text(&self, cut: bool) -> String {
        let lines: BTreeSet<String> = self.rules.iter().map(Rule::describe).collect();
        let mut text = lines.into_iter().collect::<Vec<_>>().join("\n");
        if cut || self.full {
            text.push('\n');
            text.push_str(MORE);
        }
        text
    }

    /// The combinations of the boxes in the order in which upstream breaks a rule down, as far as they are listed.
    fn take(&mut self, boxes: &[&Vec<Vec<usize>>], part: Part, lists: [&Vec<String>; 4]) -> Vec<[usize; 4]> {
        let mut taken = Vec::new();
        'boxes: for places in boxes {
            // From the order of the dimensions to that of the lists.
            let none = vec![0];
            let of = |at: usize| places.get(at).unwrap_or(&none);
            let [first, second, third, fourth] = match part {
                Part::Paths => [of(1), of(0), &none, &none],
                Part::Resources => [of(1), of(2), of(0), of(3)],
            };
            for a in first {
                for b in second {
                    for c in third {
                        for d in fourth {
                            let at = [*a, *b, *c, *d];
                            let length = |i: usize| lists[i].get(at[i]).map_or(0, String::len);
                            self.bytes += EACH + (0..4).map(length).sum::<usize>();
                            if self.bytes > BYTES && !(self.is_empty() && taken.is_empty()) {
                                self.full = true;
                                break 'boxes;
                            }
                            taken.push(at);
                        }
                    }
                }
            }
        }
        taken.sort_unstable();
        taken
    }

    fn path(&mut self, url: Option<&str>, verb: Option<&str>) {
        self.rules.push(Rule { non_resource_urls: one(url), verbs: one(verb), ..Rule::default() });
    }

    fn resource(&mut self, [group, resource, verb, name]: [Option<&'a str>; 4]) {
        let key = (group.unwrap_or(""), resource.unwrap_or(""));
        if name.is_none()
            && let Some(rule) = self.simple.get(&key).and_then(|at| self.rules.get_mut(*at))
        {
            return rule.verbs.extend(one(verb));
        }
        if name.is_none() {
            self.simple.insert(key, self.rules.len());
        }
        self.rules.push(Rule {
            verbs: one(verb),
            api_groups: one(group),
            resources: one(resource),
            resource_names: one(name),
            ..Rule::default()
        });
    }
}

static NONE: Vec<String> = Vec::new();

fn one(text: Option<&str>) -> Vec<String> {
    text.map(str::to_owned).into_iter().collect()
}
