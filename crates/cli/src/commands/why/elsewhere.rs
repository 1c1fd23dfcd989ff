//! A server that does not say why: TokenReview, SubjectAccessReview, and its roles as they are read.

use serde_json::{Value, json};
use tokensmith_client::Refusal;
use tokensmith_core::access::rbac::Policy;
use tokensmith_core::access::{ANONYMOUS, Attributes, Identity, MASTERS, Step, UNAUTHENTICATED};
use tokensmith_objects::Object;
use tokensmith_verify::ReviewStatus;
use tokensmith_verify::report::{Report, UnverifiedToken, Verdict};

use super::answer::{Answer, request};
use super::question::Question;
use super::{Asked, credentials};
use crate::client::http::Client;
use crate::failure::Failure;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Asks it. `refusal` is what it has said to the question that a tokensmith server answers.
///
/// # Errors
/// It cannot be reached, or does not let who asks review.
pub async fn ask(client: &Client, asked: &Asked, refusal: &Refusal) -> Result<Answer, Failure> {
    let Question { attributes, notes: odd, vain } = Question::of(client, asked).await?;
    let mut notes = vec![match refusal.code {
        403 => format!(
            "POST {} is not open to you, so this is what reviews and roles say: {}",
            super::PATH,
            refusal.message
        ),
        _ => "this server does not say why itself: this is what its reviews and its roles say".to_owned(),
    }];
    if asked.object.is_some() {
        notes.push("--object is not asked about: only the server's own admission knows".to_owned());
    }
    notes.extend(odd);
    let mut steps = Vec::new();
    let user = match &asked.token {
        None => json!({ "username": ANONYMOUS, "groups": [UNAUTHENTICATED] }),
        Some(token) => {
            let body = json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": { "token": token } });
            let answer =
                client.post(REVIEWS, &body).await?.map_err(|r| refused(&r, "create tokenreviews"))?;
            let status = &answer["status"];
            steps.extend(of_review(token, status));
            if status["authenticated"] != true {
                steps.extend([MASTERS, "RBAC"].map(Step::unasked));
                return Ok(Answer::made(401, &steps, &Value::Null, &request(&attributes), notes));
            }
            status["user"].clone()
        }
    };
    let allowed = access(client, &attributes, &user, &mut steps).await?;
    let code = if allowed { 200 } else { 403 };
    Ok(Answer::made(code, &steps, &user, &request(&attributes), notes).in_vain(vain))
}

/// What is asked about as a review has it.
pub fn spec(a: &Attributes) -> Value {
    if !a.resource_request {
        return json!({ "nonResourceAttributes": { "verb": a.verb, "path": a.path } });
    }
    json!({ "resourceAttributes": {
        "verb": a.verb, "group": a.group, "version": a.version, "resource": a.resource,
        "subresource": a.subresource, "namespace": a.namespace, "name": a.name,
    }})
}

/// What a TokenReview comes to, rule by rule, as `token inspect --server` tells it.
fn of_review(token: &str, status: &Value) -> Vec<Step> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = text(&status["error"]);
    let Ok(read) = UnverifiedToken::parse(token) else {
        return vec![match status["authenticated"] == true {
            true => Step::holds("review", "the server knows it"),
            false => Step::fails("review", error).or("give the token whole, as it was issued"),
        }];
    };
    let audiences = status["audiences"].as_array().into_iter().flatten();
    let status = ReviewStatus {
        authenticated: status["authenticated"] == true,
        username: text(&status["user"]["username"]),
        uid: text(&status["user"]["uid"]),
        audiences: audiences.filter_map(Value::as_str).map(str::to_owned).collect(),
        error,
    };
    let another = format!(
        "kubectl create token {} --namespace {}",
        or(read.private(&["serviceaccount", "name"]), "NAME"),
        or(read.private(&["namespace"]), "NAMESPACE")
    );
    let rules = Report::by_review(&read, &[], &status, "").rules;
    let step = |rule: &tokensmith_verify::report::Rule| match rule.verdict {
        Verdict::Holds => Step::holds(rule.name, rule.detail.as_str()),
        Verdict::Fails => Step::fails(rule.name, rule.detail.as_str()).or(another.as_str()),
        Verdict::Unchecked => Step::silent(rule.name, rule.detail.as_str()),
    };
    rules.iter().map(step).collect()
}

/// A name that can stand in a command, or what stands for one.
fn or<'a>(name: &'a str, missing: &'a str) -> &'a str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if !name.is_empty() && name.chars().all(plain) { name } else { missing }
}

async fn access(
    client: &Client,
    a: &Attributes,
    user: &Value,
    steps: &mut Vec<Step>,
) -> Result<bool, Failure> {
    let mut spec = spec(a);
    for (field, of) in [("user", "username"), ("uid", "uid"), ("groups", "groups"), ("extra", "extra")] {
        if let Some(value) = user.get(of) {
            spec[field] = value.clone();
        }
    }
    let body =
        json!({ "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec });
    let answer = client.post(ACCESS, &body).await?.map_err(|r| refused(&r, "create subjectaccessreviews"))?;
    let status = &answer["status"];
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    let identity = identity(user);
    if status["allowed"] == true {
        steps.push(match (reason.is_empty(), identity.groups.iter().any(|group| group == MASTERS)) {
            (true, true) => Step::holds(MASTERS, "its members may do everything"),
            (true, false) => Step::holds("authorization", "the server allows it and gives no reason"),
            (false, _) => Step::holds("authorization", reason),
        });
        return Ok(true);
    }
    if !reason.is_empty() {
        steps.push(Step::silent("authorization", reason));
    }
    steps.push(match roles(client).await? {
        Ok(objects) => {
            let bindings: Vec<Object> = objects
                .iter()
                .filter(|object| {
                    object.kind().ends_with("Binding")
                        && ["", a.namespace.as_str()].contains(&object.namespace())
                })
                .cloned()
                .collect();
            Policy::read(&objects).explain(&identity, a, true, || bindings)
        }
        Err(what) => Step::fails(
            "RBAC",
            format!("the server refuses it; which binding comes nearest is told to who may list {what}"),
        ),
    });
    if let Some(step) = steps.last_mut().filter(|step| step.holds == Some(true)) {
        // The roles allow what the server refuses: something else has the last word there.
        step.holds = Some(false);
        step.detail =
            format!("the server refuses it although {}: another authorizer has said no", step.detail);
    }
    Ok(false)
}

/// All roles and bindings; or what of them may not be read.
async fn roles(client: &Client) -> Result<Result<Vec<Object>, &'static str>, Failure> {
    let mut all = Vec::new();
    for (plural, kind) in [
        ("clusterroles", "ClusterRole"),
        ("clusterrolebindings", "ClusterRoleBinding"),
        ("roles", "Role"),
        ("rolebindings", "RoleBinding"),
    ] {
        let Ok(mut list) = client.get(&format!("{ROLES}/{plural}")).await? else { return Ok(Err(plural)) };
        let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else { continue };
        // Items of a list do not say what they are.
        let named = items.into_iter().map(|mut item| {
            item["kind"] = kind.into();
            item
        });
        all.extend(named.filter_map(Object::from_value));
    }
    Ok(Ok(all))
}

fn identity(user: &Value) -> Identity {
    let groups = user["groups"].as_array().into_iter().flatten();
    Identity {
        name: user["username"].as_str().unwrap_or_default().to_owned(),
        groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
        ..Identity::default()
    }
}

fn refused(refusal: &Refusal, needed: &str) -> Failure {
    match refusal.code {
        401 => credentials(),
        403 => Failure::failed(format!(
            "asking needs rights of its own: `post` on the path {} of a tokensmith server, or else to {needed}: {}; --self asks with the token itself",
            super::PATH,
            refusal.message
        )),
        _ => Failure::failed(format!("failed to ask: {}", refusal.message)),
    }
}
