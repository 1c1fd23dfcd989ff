//! All authenticators as one, all authorizers as one (apiserver `authentication/request/union`,
//! `authorization/union`), and the text of a refusal.

use std::sync::Arc;

use time::OffsetDateTime;

use super::authenticators::{ClientCertificates, Shown};
use super::rbac::UserRules;
use super::{
    ANONYMOUS, AUTHENTICATED, Attributes, AuthError, Authenticated, Authorizer, BearerToken, Clearance,
    Decision, Identity, MASTERS, Step, TokenAuthenticator, UNAUTHENTICATED,
};
use crate::view::Snapshot;

/// The token authenticators, in order.
pub struct Authentication {
    authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    api_audiences: Vec<String>,
    certificates: Option<Arc<ClientCertificates>>,
}

impl Authentication {
    /// `api_audiences` are what a token must be for when nobody asks for others.
    pub fn new(authenticators: Vec<Arc<dyn TokenAuthenticator>>, api_audiences: Vec<String>) -> Self {
        Authentication { authenticators, api_audiences, certificates: None }
    }

    /// Takes client certificates, too (`--client-ca-file`).
    pub fn with_certificates(self, certificates: Option<Arc<ClientCertificates>>) -> Self {
        Authentication { certificates, ..self }
    }

    /// What a token must be for when nobody asks for others.
    pub fn api_audiences(&self) -> &[String] {
        &self.api_audiences
    }

    /// Asks all in order until one recognises the token. The error's text is that of `TokenReview.status.error`:
    /// upstream's loopback authenticator sees every token first and adds `invalid bearer token`.
    ///
    /// # Errors
    /// Nobody recognises the token, or one of those asked recognises and refuses it, or could not tell: never taken for anonymous.
    pub fn authenticate(
        &self,
        token: &BearerToken,
        audiences: Option<&[String]>,
        objects: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<Authenticated, AuthError> {
        let audiences = audiences.filter(|a| !a.is_empty()).unwrap_or(&self.api_audiences);
        self.ask(audiences, |authenticator| authenticator.authenticate(token, audiences, objects, now))
    }

    /// The same for the API's own audiences, as a request is judged, with what each authenticator has looked at. Of a token that
    /// one of them takes only that is told.
    pub fn explain(
        &self,
        token: &BearerToken,
        objects: &Snapshot,
        now: OffsetDateTime,
        asker: &Clearance,
    ) -> (Result<Authenticated, AuthError>, Vec<Step>) {
        let mut steps = Vec::new();
        let found = self.ask(&self.api_audiences, |authenticator| {
            let mut own = Vec::new();
            let found = authenticator.explain(token, &self.api_audiences, objects, now, asker, &mut own);
            match &found {
                Ok(Some(_)) => steps = own,
                _ => steps.extend(own),
            }
            found
        });
        (found, steps)
    }

    fn ask(
        &self,
        audiences: &[String],
        mut each: impl FnMut(&dyn TokenAuthenticator) -> Result<Option<Authenticated>, AuthError>,
    ) -> Result<Authenticated, AuthError> {
        let mut causes = vec!["invalid bearer token".to_owned()];
        for authenticator in &self.authenticators {
            match each(&**authenticator) {
                Ok(Some(found)) => {
                    // Else its token is for others than those who ask, so it is not one to them.
                    let Some(audiences) = self.audiences_of(&found, audiences) else { continue };
                    let mut found = Authenticated { audiences: Some(audiences), ..found };
                    add_group(&mut found.identity, AUTHENTICATED);
                    return Ok(found);
                }
                Ok(None) => {}
                Err(AuthError(cause)) if !causes.contains(&cause) => causes.push(cause),
                Err(_) => {}
            }
        }
        Err(AuthError(match causes.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }))
    }

    /// Asks for all that a request shows, certificates first, until something says who it is (apiserver `request/union`). A credential
    /// that is refused does not spoil another one; where none is left, it is refused, and the caller is never nobody.
    ///
    /// # Errors
    /// Something was shown, and nothing of it counts.
    pub fn request(
        &self,
        certificates: Option<&Shown>,
        tokens: Vec<Result<BearerToken, AuthError>>,
        objects: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<Option<Authenticated>, AuthError> {
        let mut causes = Vec::new();
        if let (Some(shown), Some(certificates)) = (certificates, &self.certificates) {
            match certificates.authenticate(shown, now) {
                Ok(mut identity) => {
                    add_group(&mut identity, AUTHENTICATED);
                    return Ok(Some(Authenticated { identity, ..Authenticated::default() }));
                }
                Err(e) => causes.push(e.to_string()),
            }
        }
        for token in tokens {
            match token.and_then(|token| self.authenticate(&token, None, objects, now)) {
                Ok(found) => return Ok(Some(found)),
                Err(AuthError(cause)) => causes.push(cause),
            }
        }
        if causes.is_empty() { Ok(None) } else { Err(AuthError(causes.join(", "))) }
    }

    /// For which of the wanted audiences a token is. An authenticator that knows none stands for those of the API (apiserver
    /// `authenticator/audagnostic.go`); `None` where these are not wanted.
    fn audiences_of(&self, found: &Authenticated, wanted: &[String]) -> Option<Vec<String>> {
        if let Some(audiences) = &found.audiences {
            return Some(audiences.clone());
        }
        let api: Vec<String> = wanted.iter().filter(|a| self.api_audiences.contains(a)).cloned().collect();
        (wanted.is_empty() || !api.is_empty()).then_some(api)
    }
}

/// A text in which nothing looks like HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Appends a group that is not there yet.
pub fn add_group(identity: &mut Identity, group: &str) {
    if !identity.groups.iter().any(|g| g == group) {
        identity.groups.push(group.into());
    }
}

/// Appends the group of who has, or has not, shown who they are, as it goes with whoever a request is made as.
pub(super) fn add_standing(identity: &mut Identity) {
    if identity.name == ANONYMOUS {
        add_group(identity, UNAUTHENTICATED);
    } else if !identity.groups.iter().any(|group| group == UNAUTHENTICATED) {
        add_group(identity, AUTHENTICATED);
    }
}

/// The authorizers, in order; `system:masters` may do everything before any is asked.
pub struct Authorizers(Vec<Arc<dyn Authorizer>>);

impl Authorizers {
    /// In the order of `--authorization-mode`.
    pub fn new(authorizers: Vec<Arc<dyn Authorizer>>) -> Self {
        Authorizers(authorizers)
    }
}

impl Authorizers {
    fn ask(&self, user: &Identity, mut each: impl FnMut(&dyn Authorizer) -> Decision) -> Decision {
        if user.groups.iter().any(|g| g == MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons: Vec<String> = Vec::new();
        for authorizer in &self.0 {
            match each(&**authorizer) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
}

impl Authorizer for Authorizers {
    fn authorize(&self, user: &Identity, attributes: &Attributes, objects: &Snapshot) -> Decision {
        self.ask(user, |authorizer| authorizer.authorize(user, attributes, objects))
    }

    fn explain(
        &self,
        user: &Identity,
        attributes: &Attributes,
        objects: &Snapshot,
        asker: &Clearance,
        steps: &mut Vec<Step>,
    ) -> Decision {
        let (before, mut asked) = (steps.len(), 0);
        steps.push(Step::silent(MASTERS, "no member"));
        let decision = self.ask(user, |authorizer| {
            asked += 1;
            authorizer.explain(user, attributes, objects, asker, steps)
        });
        let allowed = matches!(decision, Decision::Allow(_));
        if allowed && asked == 0 {
            steps[before] = Step::holds(MASTERS, "its members may do everything");
        }
        // Who has left it to another one who allows it has refused nothing.
        for step in steps[before..].iter_mut().filter(|step| allowed && step.holds == Some(false)) {
            (step.holds, step.change) = (None, Vec::new());
        }
        steps.extend(self.0.iter().skip(asked).map(|authorizer| Step::unasked(authorizer.name())));
        decision
    }

    fn rules_for(&self, user: &Identity, namespace: &str, objects: &Snapshot) -> UserRules {
        let mut all = UserRules::default();
        for rules in self.0.iter().map(|a| a.rules_for(user, namespace, objects)) {
            all.roles.extend(rules.roles);
            all.incomplete |= rules.incomplete;
            all.errors.extend(rules.errors);
        }
        all
    }
}

/// Mode `AlwaysAllow`.
pub struct AlwaysAllow;

impl Authorizer for AlwaysAllow {
    fn authorize(&self, _: &Identity, _: &Attributes, _: &Snapshot) -> Decision {
        Decision::Allow(String::new())
    }

    fn rules_for(&self, _: &Identity, _: &str, _: &Snapshot) -> UserRules {
        let all = || vec!["*".to_owned()];
        let resources =
            super::rbac::Rule { verbs: all(), api_groups: all(), resources: all(), ..Default::default() };
        let paths = super::rbac::Rule { verbs: all(), non_resource_urls: all(), ..Default::default() };
        UserRules { roles: vec![[resources, paths].into()], ..UserRules::default() }
    }
}

/// Mode `AlwaysDeny`.
pub struct AlwaysDeny;

impl Authorizer for AlwaysDeny {
    fn authorize(&self, _: &Identity, _: &Attributes, _: &Snapshot) -> Decision {
        Decision::NoOpinion("Everything is forbidden.".into())
    }
}

/// The text of a 403 after `RES "NAME" is forbidden: ` (apiserver `handlers/responsewriters/errors.go`). `&`, `<` and
/// `>` are escaped: browsers once guessed HTML from such texts.
pub fn forbidden_text(user: &Identity, a: &Attributes, reason: &str) -> String {
    let who = format!("User {}", quote(&user.name));
    let text = if a.resource_request {
        let resource = match a.subresource.as_str() {
            "" => a.resource.clone(),
            sub => format!("{}/{sub}", a.resource),
        };
        let scope = match a.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {}", quote(namespace)),
        };
        format!(
            "{who} cannot {} resource {} in API group {} {scope}",
            a.verb,
            quote(&resource),
            quote(&a.group)
        )
    } else {
        format!("{who} cannot {} path {}", a.verb, quote(&a.path))
    };
    let text = escaped(&text);
    if reason.is_empty() { text } else { format!("{text}: {reason}") }
}

fn quote(text: &str) -> String {
    tokensmith_objects::field::go_quote(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(Result<Option<Authenticated>, AuthError>);

    impl TokenAuthenticator for Says {
        fn authenticate(
            &self,
            _: &BearerToken,
            _: &[String],
            _: &Snapshot,
            _: OffsetDateTime,
        ) -> Result<Option<Authenticated>, AuthError> {
            self.0.clone()
        }
    }

    #[test]
    fn causes_are_collected_as_upstream_does() {
        let ask = |all: Vec<Result<Option<Authenticated>, AuthError>>| {
            let all = all.into_iter().map(|a| Arc::new(Says(a)) as Arc<dyn TokenAuthenticator>).collect();
            let chain = Authentication::new(all, vec!["api".into()]);
            chain.authenticate(&BearerToken::new("t"), None, &Snapshot::default(), OffsetDateTime::UNIX_EPOCH)
        };
        let error = |text: &str| Err(AuthError(text.into()));
        assert_eq!(ask(vec![Ok(None)]).unwrap_err().0, "invalid bearer token");
        assert_eq!(ask(vec![error("a"), error("a")]).unwrap_err().0, "[invalid bearer token, a]");
        let known = Authenticated {
            identity: Identity { name: "x".into(), ..Identity::default() },
            ..Authenticated::default()
        };
        let found = ask(vec![error("a"), Ok(Some(known))]).unwrap();
        assert_eq!(
            (found.identity.groups, found.audiences),
            (vec![AUTHENTICATED.to_owned()], Some(vec!["api".into()]))
        );
    }

    #[test]
    fn who_knows_no_audience_stands_for_those_of_the_api() {
        let all = vec![Arc::new(Says(Ok(Some(Authenticated::default())))) as Arc<dyn TokenAuthenticator>];
        let chain = Authentication::new(all, vec!["api".into(), "https://api".into()]);
        let ask = |audiences: &[&str]| {
            let audiences: Vec<String> = audiences.iter().map(|a| (*a).into()).collect();
            let (token, objects) = (BearerToken::new("t"), Snapshot::default());
            let found = chain.authenticate(&token, Some(&audiences), &objects, OffsetDateTime::UNIX_EPOCH);
            found.map(|f| f.audiences.unwrap().join(" ")).map_err(|e| e.0)
        };
        assert_eq!(ask(&[]).as_deref(), Ok("api https://api"));
        assert_eq!(ask(&["x", "https://api", "y", "api"]).as_deref(), Ok("https://api api"));
        for others in [&["x"][..], &["API"], &["api "], &[""], &["x", "y"]] {
            assert_eq!(ask(others), Err("invalid bearer token".into()), "{others:?}");
        }
    }

    #[test]
    fn who_decides_is_told_and_who_is_not_asked() {
        let explained = |groups: &[&str], all: Vec<Arc<dyn Authorizer>>| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            let user = Identity { name: "jane".into(), groups, ..Identity::default() };
            let (all, mut steps) = (Authorizers::new(all), Vec::new());
            let (a, objects) = (Attributes::default(), Snapshot::default());
            let decision = all.explain(&user, &a, &objects, &Clearance::default(), &mut steps);
            assert_eq!(decision, all.authorize(&user, &a, &objects), "it decides the same");
            steps.into_iter().map(|step| (step.rule, step.holds)).collect::<Vec<_>>()
        };
        let (allow, deny): (Arc<dyn Authorizer>, Arc<dyn Authorizer>) =
            (Arc::new(AlwaysAllow), Arc::new(AlwaysDeny));
        let both = || vec![deny.clone(), allow.clone(), deny.clone()];
        assert_eq!(
            explained(&[], both()),
            [(MASTERS, None), ("AlwaysDeny", None), ("AlwaysAllow", Some(true)), ("AlwaysDeny", None)]
        );
        assert_eq!(explained(&[MASTERS], both())[..2], [(MASTERS, Some(true)), ("AlwaysDeny", None)]);
        assert_eq!(explained(&[], vec![deny.clone()]), [(MASTERS, None), ("AlwaysDeny", Some(false))]);
        assert_eq!(explained(&[], Vec::new()), [(MASTERS, None)]);
    }

    #[test]
    fn refusals() {
        let jane = Identity { name: "<jane>".into(), ..Identity::default() };
        let path = Attributes { verb: "get".into(), path: "/x".into(), ..Attributes::default() };
        assert_eq!(forbidden_text(&jane, &path, ""), "User \"&lt;jane&gt;\" cannot get path \"/x\"");
        let a = Attributes {
            verb: "create".into(),
            resource: "serviceaccounts".into(),
            subresource: "token".into(),
            namespace: "n".into(),
            resource_request: true,
            ..Attributes::default()
        };
        assert_eq!(
            forbidden_text(&jane, &a, "why"),
            "User \"&lt;jane&gt;\" cannot create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"n\": why"
        );
    }
}
