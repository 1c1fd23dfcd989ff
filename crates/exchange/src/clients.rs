//! Clients that show who they are by an assertion (RFC 7521 §4.2, RFC 7523 §2.2).

use crate::endpoint::Endpoint;
use crate::form::Form;
use crate::oauth::{Code, Refusal};
use crate::policy::Policy;
use crate::replay::Use;
use crate::subject::{As, Kind, Subject};

/// What a client's assertion is.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a client is told that is not known: nothing.
const TOLD: &str = "the client is not authenticated";

impl Endpoint {
    /// The client that an assertion in the form shows; `None` where there is none. Whoever goes on with it uses it up
    /// ([`Self::once`]).
    ///
    /// # Errors
    /// There is one that does not count, or a secret, which no client has here.
    pub(crate) async fn client(&self, policy: &Policy, form: &Form) -> Result<Option<Subject>, Refusal> {
        let refused = |why: String| Refusal::because(Code::InvalidClient, TOLD, why);
        if form.get("client_secret").is_some() {
            return Err(refused("it has shown a secret: no client has one here".into()));
        }
        let (assertion, kind) = (form.get("client_assertion"), form.get("client_assertion_type"));
        let assertion = match (assertion, kind) {
            (None, None) => return Ok(None),
            (Some(assertion), Some(ASSERTION_TYPE)) => assertion,
            // RFC 7521 §4.2: both, and a type that is known.
            (Some(_), Some(_)) => return Err(refused("its client_assertion_type is not known".into())),
            _ => {
                let told = "client_assertion and client_assertion_type go together";
                return Err(Refusal::new(Code::InvalidRequest, told));
            }
        };
        let client = self.subject(policy, assertion, As::Assertion).await;
        let client = client.map_err(|e| e.refusal(Code::InvalidClient, TOLD))?;
        // RFC 7521 §4.2: it names the same client, by its `sub` or by the name that tokens give it.
        if form.get("client_id").is_some_and(|id| id != client.sub && id != client.id) {
            return Err(refused("its client_id is another than its assertion's".into()));
        }
        Ok(Some(client))
    }

    /// Uses an assertion up, where it counts once.
    pub(crate) fn once(&self, policy: &Policy, subject: &Subject) -> Result<(), String> {
        let once = match subject.kind {
            Kind::Account { .. } => policy.accounts.once,
            Kind::Exchanged => true,
            Kind::Issuer => policy.issuers.get(&subject.issuer).is_none_or(|takes| takes.once),
        };
        if !once {
            return Ok(());
        }
        let (issuer, id) = subject.used();
        let id = id.ok_or("it has no jti, and assertions of its issuer count once")?;
        // As long as it is accepted: its time, and the leeway that clocks have.
        let until = subject.expires_at.saturating_add(120);
        match self.used.note(issuer, id, until, self.clock.unix()) {
            Use::First => Ok(()),
            Use::Again => Err("it has been used before".into()),
            Use::Full => Err("too many assertions are remembered".into()),
        }
    }
}
