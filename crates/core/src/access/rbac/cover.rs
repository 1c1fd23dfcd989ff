//! Which of the permissions that a rule grants are covered by others, without multiplying the rule out.
//!
//! A rule grants each combination of its verbs, groups, resources and names: a box. Such a combination is covered if one
//! of the held rules covers it in full (`component-helpers/auth/rbac/validation`); Kubernetes looks at each, and a rule of
//! 2 KB has a million. Here values that the same held rules have are one class, and a box is divided by classes only as
//! long as the held rules that are left differ in them:
//!
//! ```text
//! box ─► by one dimension: values with the same held rules ─► smaller boxes, with those rules
//!        none is left: the box is missing        one has all that is left: it is covered
//! ```
//!
//! This is exact, and for roles that people write it costs as much as they are long. Rules can be made for which it does
//! not: the work is counted, and ends at [`Budget`].

use std::collections::{HashMap, HashSet};

use super::Rule;
use super::prefixes::Prefixes;

/// How much work a comparison may be: looks at a held rule or a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(u64);

/// There was more to compare than is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Budget {
    /// What one request may cost: some hundredths of a second.
    pub(super) const REQUEST: Budget = Budget(1_000_000);

    /// The steps that are left.
    #[cfg(test)]
    pub(super) fn left(self) -> u64 {
        self.0
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(steps as u64).ok_or(Exhausted)?;
        Ok(())
    }
}

/// A part of a rule that is not covered: for each dimension the places of values in the rule's list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) part: Part,
    /// Of verbs, groups, resources and names, or of verbs and URLs.
    pub(super) places: Vec<Vec<usize>>,
}

/// What a combination is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Paths,
    Resources,
}

/// The held rules, found by what they hold.
#[derive(Default)]
pub(super) struct Held<'a> {
    count: u32,
    verbs: Lists<'a>,
    groups: Lists<'a>,
    resources: Lists<'a>,
    names: Lists<'a>,
    urls: Lists<'a>,
    all_verbs: Rules,
    all_groups: Rules,
    all_resources: Rules,
    /// Those without resource names, which hold for all.
    unnamed: Rules,
    nothing: Rules,
    prefixes: Prefixes<'a>,
}

/// A value → the rules that have it, in order, each once.
type Lists<'a> = HashMap<&'a str, Vec<u32>>;

/// Some of the held rules.
#[derive(Default)]
struct Rules {
    list: Vec<u32>,
    has: Vec<bool>,
}

impl Rules {
    fn add(&mut self, has: bool, id: u32) {
        self.has.push(has);
        self.list.extend(has.then_some(id));
    }

    fn has(&self, id: u32) -> bool {
        self.has[id as usize]
    }
}

impl<'a> Held<'a> {
    /// Sorts rules by what they hold: as much work as they are long.
    pub(super) fn new(rules: impl Iterator<Item = &'a Rule>) -> Self {
        let (mut held, mut seen, mut prefixes) = (Held::default(), HashSet::new(), Vec::new());
        for rule in rules.filter(|rule| seen.insert(*rule)) {
            let id = held.count;
            held.count += 1;
            file(&mut held.verbs, &rule.verbs, id);
            file(&mut held.groups, &rule.api_groups, id);
            file(&mut held.resources, &rule.resources, id);
            file(&mut held.names, &rule.resource_names, id);
            file(&mut held.urls, &rule.non_resource_urls, id);
            let has = |list: &[String]| list.iter().any(|value| value == "*");
            held.all_verbs.add(has(&rule.verbs), id);
            held.all_groups.add(has(&rule.api_groups), id);
            held.all_resources.add(has(&rule.resources), id);
            held.unnamed.add(rule.resource_names.is_empty(), id);
            held.nothing.add(false, id);
            let stars = rule.non_resource_urls.iter().filter(|url| url.ends_with('*'));
            prefixes.extend(stars.map(|url| (url.trim_end_matches('*'), id)));
        }
        held.prefixes = Prefixes::new(prefixes);
        held
    }

    /// What of a rule none of these covers.
    pub(super) fn missing(
        &self,
        rule: &Rule,
        budget: &mut Budget,
        missing: &mut Vec<Missing>,
    ) -> Result<(), Exhausted> {
        if !rule.api_groups.is_empty() && !rule.resources.is_empty() && !rule.verbs.is_empty() {
            let dimensions = [
                Dimension::of(&rule.verbs, |v| vec![list(&self.verbs, v)], &self.all_verbs),
                Dimension::of(&rule.api_groups, |g| vec![list(&self.groups, g)], &self.all_groups),
                Dimension::of(&rule.resources, |r| self.resource(r), &self.all_resources),
                match rule.resource_names.is_empty() {
                    // Whoever holds for some names does not hold for all.
                    true => Dimension::single(&self.unnamed),
                    false => {
                        Dimension::of(&rule.resource_names, |n| vec![list(&self.names, n)], &self.unnamed)
                    }
                },
            ];
            self.divide(Part::Resources, dimensions.into(), budget, missing)?;
        }
        if !rule.non_resource_urls.is_empty() && !rule.verbs.is_empty() {
            let mut urls = Vec::new();
            for url in &rule.non_resource_urls {
                let mut lists = vec![list(&self.urls, url)];
                self.prefixes.of(url, budget, &mut lists)?;
                urls.push(lists);
            }
            let dimensions = [
                Dimension::of(&rule.verbs, |v| vec![list(&self.verbs, v)], &self.all_verbs),
                Dimension { values: urls, all: &self.nothing },
                Dimension::single(&self.unnamed),
            ];
            self.divide(Part::Paths, dimensions.into(), budget, missing)?;
        }
        Ok(())
    }

    /// The rules that have a resource, itself or as `*/SUBRESOURCE`.
    fn resource(&self, resource: &str) -> Vec<&[u32]> {
        let exact = list(&self.resources, resource);
        match resource.split_once('/') {
            Some((_, sub)) => vec![exact, list(&self.resources, &format!("*/{sub}"))],
            None => vec![exact],
        }
    }

    fn divide(
        &self,
        part: Part,
        dimensions: Vec<Dimension<'_>>,
        budget: &mut Budget,
        missing: &mut Vec<Missing>,
    ) -> Result<(), Exhausted> {
        // Only rules that have something in each dimension can cover anything; the shortest lists name them.
        let Some(shortest) = dimensions.iter().min_by_key(|d| d.count()) else { return Ok(()) };
        budget.spend(shortest.count())?;
        let mut rules = shortest.rules();
        let mut classes: Vec<Classes<'_>> = Vec::new();
        for dimension in dimensions {
            let found = Classes::of(dimension, &rules, budget)?;
            rules.retain(|id| found.has(*id));
            classes.push(found);
        }
        // What has few classes first: it leaves few boxes.
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by_key(|at| classes[*at].values.len());
        let mut division =
            Division { part, classes: &classes, order: &order, budget, missing, chosen: Vec::new() };
        division.divide(&rules)
    }
}

/// The values of one dimension, each with the lists of rules that have it, and the rules that have all.
struct Dimension<'a> {
    values: Vec<Vec<&'a [u32]>>,
    all: &'a Rules,
}

impl<'a> Dimension<'a> {
    fn of(values: &[String], lists: impl Fn(&str) -> Vec<&'a [u32]>, all: &'a Rules) -> Self {
        Dimension { values: values.iter().map(|value| lists(value)).collect(), all }
    }

    /// One value, which some rules have.
    fn single(rules: &'a Rules) -> Self {
        Dimension { values: vec![Vec::new()], all: rules }
    }

    /// How many rules have any of the values, at most.
    fn count(&self) -> usize {
        self.values.iter().flatten().map(|list| list.len()).sum::<usize>() + self.all.list.len()
    }

    /// Those.
    fn rules(&self) -> Vec<u32> {
        let mut rules: Vec<u32> = self.values.iter().flatten().copied().flatten().copied().collect();
        rules.extend(&self.all.list);
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// The values of one dimension by the rules that have them.
struct Classes<'a> {
    /// The places of each class's values.
    values: Vec<Vec<usize>>,
    /// A rule → its classes, in order.
    classes: HashMap<u32, Vec<u32>>,
    /// The rules that have all values there can be.
    all: &'a Rules,
}

impl<'a> Classes<'a> {
    /// Sorts the values by which of some rules have them.
    fn of(dimension: Dimension<'a>, rules: &[u32], budget: &mut Budget) -> Result<Self, Exhausted> {
        let mut places: HashMap<Vec<u32>, Vec<usize>> = HashMap::new();
        for (place, lists) in dimension.values.into_iter().enumerate() {
            let mut having = Vec::new();
            for list in lists {
                common(list, rules, budget, |id| having.extend((!dimension.all.has(id)).then_some(id)))?;
            }
            having.sort_unstable();
            having.dedup();
            places.entry(having).or_default().push(place);
        }
        let mut ordered: Vec<_> = places.into_iter().collect();
        ordered.sort_by_key(|(_, places)| places[0]);
        let (mut values, mut classes) = (Vec::new(), HashMap::<u32, Vec<u32>>::new());
        for (class, (having, places)) in ordered.into_iter().enumerate() {
            having.into_iter().for_each(|id| classes.entry(id).or_default().push(class as u32));
            values.push(places);
        }
        Ok(Classes { values, classes, all: dimension.all })
    }

    fn has(&self, id: u32) -> bool {
        self.all.has(id) || self.classes.contains_key(&id)
    }

    fn has_all(&self, id: u32) -> bool {
        self.all.has(id) || self.classes.get(&id).is_some_and(|c| c.len() == self.values.len())
    }
}

/// A box that is being divided.
struct Division<'a> {
    part: Part,
    classes: &'a [Classes<'a>],
    /// In which order the dimensions are divided.
    order: &'a [usize],
    budget: &'a mut Budget,
    missing: &'a mut Vec<Missing>,
    /// For each dimension that is divided already, the classes of this box.
    chosen: Vec<Vec<u32>>,
}

impl Division<'_> {
    /// `rules`: those that have all the chosen classes.
    fn divide(&mut self, rules: &[u32]) -> Result<(), Exhausted> {
        self.budget.spend(1 + rules.len())?;
        let left = &self.order[self.chosen.len()..];
        if rules.is_empty() {
            return self.miss();
        }
        if rules.iter().any(|id| left.iter().all(|at| self.classes[*at].has_all(*id))) {
            return Ok(());
        }
        // Something is left: a rule with nothing left to have has it all.
        let Some(at) = left.first() else { return Ok(()) };
        let dimension = &self.classes[*at];
        let mut everywhere = Vec::new();
        let mut of: Vec<Vec<u32>> = vec![Vec::new(); dimension.values.len()];
        self.budget.spend(of.len())?;
        for id in rules {
            match dimension.classes.get(id) {
                _ if dimension.all.has(*id) => everywhere.push(*id),
                Some(classes) => {
                    self.budget.spend(classes.len())?;
                    classes.iter().for_each(|class| of[*class as usize].push(*id));
                }
                None => {}
            }
        }
        // Classes that no remaining rule tells apart are one.
        let mut groups: HashMap<Vec<u32>, Vec<u32>> = HashMap::new();
        for (class, rules) in of.into_iter().enumerate() {
            groups.entry(rules).or_default().push(class as u32);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(_, a), (_, b)| a.cmp(b));
        for (mut rules, classes) in groups {
            self.budget.spend(everywhere.len())?;
            rules.extend_from_slice(&everywhere);
            self.chosen.push(classes);
            self.divide(&rules)?;
            self.chosen.pop();
        }
        Ok(())
    }

    /// No rule is left: nothing of this box is covered.
    fn miss(&mut self) -> Result<(), Exhausted> {
        let mut places = vec![Vec::new(); self.classes.len()];
        for (depth, at) in self.order.iter().enumerate() {
            let values = &self.classes[*at].values;
            places[*at] = match self.chosen.get(depth) {
                Some(chosen) => chosen.iter().flat_map(|class| &values[*class as usize]).copied().collect(),
                None => values.iter().flatten().copied().collect(),
            };
            self.budget.spend(places[*at].len())?;
        }
        self.missing.push(Missing { part: self.part, places });
        Ok(())
    }
}

/// Tells what two ordered lists have in common: the shorter one is gone through, the other one searched.
fn common(a: &[u32], b: &[u32], budget: &mut Budget, mut tell: impl FnMut(u32)) -> Result<(), Exhausted> {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    budget.spend(short.len())?;
    short.iter().filter(|id| long.binary_search(id).is_ok()).for_each(|id| tell(*id));
    Ok(())
}

fn file<'a>(lists: &mut Lists<'a>, values: &'a [String], id: u32) {
    for value in values {
        push(lists.entry(value).or_default(), id);
    }
}

fn list<'l>(lists: &'l Lists<'_>, value: &str) -> &'l [u32] {
    lists.get(value).map_or(&[], Vec::as_slice)
}

/// Adds what is no smaller than what is there, once.
pub(super) fn push(list: &mut Vec<u32>, id: u32) {
    if list.last() != Some(&id) {
        list.push(id);
    }
}
