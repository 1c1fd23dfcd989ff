//! With nothing but the token: who it is, whether it may, and the rules that it has. Of a token that is refused the server says
//! no more than that.

use serde_json::{Value, json};
use tokensmith_api::duration::human;
use tokensmith_core::Clock;
use tokensmith_core::access::rbac::{Rule, nearest};
use tokensmith_core::access::{Attributes, Step};
use tokensmith_core::clock::SystemClock;
use tokensmith_verify::report::UnverifiedToken;

use super::Asked;
use super::answer::{Answer, request};
use super::elsewhere::spec;
use super::question::Question;
use crate::client::http::Client;
use crate::failure::Failure;

const REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ACCESS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";

/// Asks.
///
/// # Errors
/// The server cannot be reached.
pub async fn ask(client: &Client, asked: &Asked) -> Result<Answer, Failure> {
    let mut notes = vec!["asked with the token itself: who may review tokens is told more".to_owned()];
    let body = json!({ "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1" });
    let user = match client.post(REVIEW, &body).await? {
        Ok(answer) => answer["status"]["userInfo"].clone(),
        Err(refusal) if refusal.code == 401 => {
            let steps = [refused(asked.token.as_deref().unwrap_or_default()), Step::unasked("authorization")];
            let what = format!("{} with this token", asked.verb);
            return Ok(Answer::made(401, &steps, &Value::Null, &what, notes));
        }
        // Who may not even ask who they are is somebody all the same.
        Err(_) => Value::Null,
    };
    let Question { attributes, notes: odd, vain } = Question::of(client, asked).await?;
    notes.extend(odd);
    let mut steps =
        vec![Step::holds("authentication", user["username"].as_str().unwrap_or("the server takes it"))];
    let body = json!({ "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec(&attributes) });
    let answer = client.post(ACCESS, &body).await?;
    let answer = answer.map_err(|refusal| Failure::failed(format!("failed to ask: {}", refusal.message)))?;
    let status = &answer["status"];
    let reason = status["reason"].as_str().unwrap_or_default();
    let allowed = status["allowed"] == true;
    steps.push(match (allowed, reason) {
        (true, "") => Step::holds("authorization", "the server allows it"),
        (true, reason) => Step::holds("authorization", reason),
        (false, reason) => {
            let mut said = vec!["the server does not allow it".to_owned()];
            said.extend((!reason.is_empty()).then(|| reason.to_owned()));
            said.extend(near(client, &attributes).await?);
            Step::fails("authorization", said.join("; "))
                .or("ask who administers the server to run this command: it then names the bindings, and what would change it")
        }
    });
    let code = if allowed { 200 } else { 403 };
    Ok(Answer::made(code, &steps, &user, &request(&attributes), notes).in_vain(vain))
}

/// What the token itself says, by this machine's clock.
fn refused(token: &str) -> Step {
    let mut said = "the server refuses the token (401), and says no more to who has nothing else".to_owned();
    let ended = UnverifiedToken::parse(token).ok().and_then(|token| token.time("exp"));
    let now = SystemClock::new().unix();
    if let Some(exp) = ended.filter(|exp| *exp < now) {
        said.push_str(&format!("; by this machine's clock it expired {} ago", human(exp.abs_diff(now))));
    }
    Step::fails("authentication", said)
        .or("tokensmith token inspect --issuer URL checks what needs no rights")
}

/// The rules that come nearest, of those that it has.
async fn near(client: &Client, a: &Attributes) -> Result<Vec<String>, Failure> {
    let namespace = if a.namespace.is_empty() { "default" } else { &a.namespace };
    let body = json!({ "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": { "namespace": namespace } });
    let Ok(answer) = client.post(RULES, &body).await? else { return Ok(Vec::new()) };
    let of = |field: &str| answer["status"][field].as_array().cloned().unwrap_or_default();
    let listed = [of("resourceRules"), of("nonResourceRules")].concat();
    let rules: Vec<Rule> = listed.into_iter().filter_map(|rule| serde_json::from_value(rule).ok()).collect();
    Ok(nearest(&rules, a).into_iter().map(|(rule, lacks)| format!("its rule {rule} {lacks}")).collect())
}
