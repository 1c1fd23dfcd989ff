//! The port over HTTP, by `tokensmith-client`.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use serde_json::{Value, json};
use tokensmith_client::{Client, Error, Refusal, segment};
use tokensmith_core::moment;
use tokensmith_core::random;
use tokensmith_objects::Object;

use super::{ApiError, ApiServer, Event, IssuedToken, KeySet, List, Resource, Review, Selection, TokenSpec};
use crate::payload::Secret;

/// A watch is asked to end after this long, and up to as long again: so that not all come back at once
/// (client-go `tools/cache/reflector.go`, `minWatchTimeout`).
const WATCH: u64 = 300;
/// How much longer than that its end is waited for.
const GRACE: u64 = 30;
/// How much of a collection is asked for at a time.
const PAGE: &str = "500";

#[async_trait]
impl ApiServer for Client {
    async fn token(&self, spec: &TokenSpec) -> Result<IssuedToken, ApiError> {
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{}/token",
            segment(&spec.namespace),
            segment(&spec.account)
        );
        let bound = spec
            .pod
            .as_ref()
            .map(|pod| json!({ "kind": "Pod", "apiVersion": "v1", "name": pod.name, "uid": pod.uid }));
        // What the kubelet sends (k8s-facts: `audiences` null when the volume names none, `metadata` empty).
        let audiences = Some(&spec.audiences).filter(|a| !a.is_empty());
        let body = json!({
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": {
                "audiences": audiences,
                "expirationSeconds": spec.expiration_seconds,
                "boundObjectRef": bound,
            },
        });
        issued(&success(self.post(&path, &body).await)?)
    }

    async fn get(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Object>, ApiError> {
        let path = format!("{}/{}", collection(resource, namespace), segment(name));
        match Client::get(self, &path).await.map_err(unreachable)? {
            Ok(value) => object(resource, value).map(Some),
            // Its namespace may be gone, too. A path that is not served is about no object.
            Err(refusal) if refusal.code == 404 && !refusal.about.is_empty() => Ok(None),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn list(&self, resource: Resource, selection: &Selection) -> Result<List, ApiError> {
        let path = collection(resource, selection.namespace.as_deref());
        let fields = selection.field_selector();
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("limit", PAGE)];
            query.extend(selectors(selection, &fields));
            if !token.is_empty() {
                query.push(("continue", token.as_str()));
            }
            let mut page = success(self.get_with(&path, &query).await)?;
            let meta = |name| page["metadata"][name].as_str().unwrap_or_default().to_owned();
            let (resource_version, next) = (meta("resourceVersion"), meta("continue"));
            let list = page.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
            for item in list.unwrap_or_default() {
                items.push(object(resource, item)?);
            }
            if next.is_empty() {
                return Ok(List { resource_version, items });
            }
            token = next;
        }
    }

    async fn watch(
        &self,
        resource: Resource,
        selection: &Selection,
        resource_version: &str,
    ) -> Result<BoxStream<'static, Result<Event, ApiError>>, ApiError> {
        let path = collection(resource, selection.namespace.as_deref());
        let fields = selection.field_selector();
        let seconds = WATCH + u64::from(u32::from_be_bytes(random::bytes())) % WATCH;
        let text = seconds.to_string();
        let mut query = vec![
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", &text),
        ];
        query.extend(selectors(selection, &fields));
        let lines = self.lines(&path, &query, Duration::from_secs(seconds + GRACE)).await;
        let lines = lines.map_err(unreachable)?.map_err(refused)?;
        Ok(lines.map(move |line| event(resource, &line.map_err(unreachable)?)).boxed())
    }

    async fn create(&self, resource: Resource, new: &Object) -> Result<Object, ApiError> {
        let path = collection(resource, Some(new.namespace()).filter(|n| !n.is_empty()));
        object(resource, success(self.post(&path, &Value::Object(new.0.clone())).await)?)
    }

    async fn delete(&self, resource: Resource, object: &Object) -> Result<(), ApiError> {
        let namespace = Some(object.namespace()).filter(|n| !n.is_empty());
        let path = format!("{}/{}", collection(resource, namespace), segment(object.name()));
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": { "uid": object.uid() },
        });
        success(Client::delete(self, &path, &options).await).map(drop)
    }

    async fn key_set(&self, etag: Option<&str>) -> Result<KeySet, ApiError> {
        let known = etag.and_then(|etag| etag.parse().ok());
        let document = self.document("/openid/v1/jwks", known.as_ref()).await;
        let Some(document) = document.map_err(unreachable)?.map_err(refused)? else {
            return Ok(KeySet::Same);
        };
        let etag = document.etag.and_then(|etag| Some(etag.to_str().ok()?.to_owned()));
        Ok(KeySet::New { kids: kids(&document.bytes)?, etag })
    }

    async fn review(&self, token: &Secret, audiences: &[String]) -> Result<Review, ApiError> {
        let token = std::str::from_utf8(token.expose()).unwrap_or_default();
        let audiences = Some(audiences).filter(|a| !a.is_empty());
        let body = json!({
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "spec": { "token": token, "audiences": audiences },
        });
        let reply = success(self.post("/apis/authentication.k8s.io/v1/tokenreviews", &body).await)?;
        let status = reply["status"].as_object();
        let status =
            status.ok_or_else(|| ApiError::Unreachable("the server's TokenReview has no status".into()))?;
        if status.get("authenticated").is_some_and(|yes| *yes == true) {
            return Ok(Review::Accepted);
        }
        let why = status.get("error").and_then(Value::as_str).unwrap_or("it gives no reason");
        Ok(Review::Refused(why.to_owned()))
    }
}

/// The names of all keys in a set, whatever their kinds: also one that cannot be used here may have signed a token.
fn kids(jwks: &[u8]) -> Result<BTreeSet<String>, ApiError> {
    let set: Value = serde_json::from_slice(jwks).unwrap_or_default();
    let keys = set["keys"].as_array();
    let keys = keys.ok_or_else(|| ApiError::Unreachable("the server's key set is none".into()))?;
    Ok(keys.iter().filter_map(|key| Some(key["kid"].as_str()?.to_owned())).collect())
}

impl Selection {
    /// The name is asked for by a field selector, so that RBAC's `resourceNames` cover the request.
    fn field_selector(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("metadata.name={name}"));
        let fields = Some(self.fields.clone()).filter(|f| !f.is_empty());
        name.into_iter().chain(fields).collect::<Vec<_>>().join(",")
    }
}

fn selectors<'a>(selection: &'a Selection, fields: &'a str) -> Vec<(&'static str, &'a str)> {
    let given = [("labelSelector", selection.labels.as_str()), ("fieldSelector", fields)];
    given.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

fn collection(resource: Resource, namespace: Option<&str>) -> String {
    let (group, plural, ..) = resource.parts();
    match namespace.filter(|_| resource != Resource::ClusterTrustBundles) {
        Some(namespace) => format!("{group}/namespaces/{}/{plural}", segment(namespace)),
        None => format!("{group}/{plural}"),
    }
}

/// An item of a list has neither `kind` nor `apiVersion`: whoever reads it later should not have to know.
fn object(resource: Resource, value: Value) -> Result<Object, ApiError> {
    let (.., api_version, kind) = resource.parts();
    let Value::Object(mut map) = value else {
        return Err(ApiError::Unreachable("the server answered with something that is no object".into()));
    };
    map.entry("apiVersion").or_insert_with(|| api_version.into());
    map.entry("kind").or_insert_with(|| kind.into());
    Ok(Object(map))
}

fn event(resource: Resource, line: &[u8]) -> Result<Event, ApiError> {
    let nonsense = || ApiError::Unreachable("the watch brought something that is no event".into());
    let mut value: Value = serde_json::from_slice(line).map_err(|_| nonsense())?;
    let inner = value.get_mut("object").map(Value::take).unwrap_or_default();
    match value["type"].as_str().unwrap_or_default() {
        "ADDED" | "MODIFIED" => object(resource, inner).map(Event::Applied),
        "BOOKMARK" => object(resource, inner).map(|o| Event::Bookmark(o.resource_version().to_owned())),
        "DELETED" => object(resource, inner).map(Event::Deleted),
        "ERROR" => {
            let text = |name| inner[name].as_str().unwrap_or_default().to_owned();
            let code = inner["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
            Err(ApiError::Status {
                code,
                reason: text("reason"),
                message: text("message"),
                retry_after: None,
            })
        }
        _ => Err(nonsense()),
    }
}

fn issued(reply: &Value) -> Result<IssuedToken, ApiError> {
    let nonsense = |what| ApiError::Unreachable(format!("the server's TokenRequest has no {what}"));
    let token =
        reply["status"]["token"].as_str().filter(|t| !t.is_empty()).ok_or_else(|| nonsense("token"))?;
    let expires_at = reply["status"]["expirationTimestamp"].as_str();
    let expires_at = expires_at.and_then(|t| moment::parse(t).ok());
    let seconds = reply["spec"]["expirationSeconds"].as_i64().filter(|s| *s > 0);
    Ok(IssuedToken {
        token: Secret::new(token.to_owned()),
        // The kubelet would never refresh without it, and only log so.
        expiration_seconds: seconds.ok_or_else(|| nonsense("expirationSeconds"))?,
        expires_at: expires_at.ok_or_else(|| nonsense("expirationTimestamp"))?,
    })
}

fn success(answer: Result<Result<Value, Refusal>, Error>) -> Result<Value, ApiError> {
    answer.map_err(unreachable)?.map_err(refused)
}

fn unreachable(error: Error) -> ApiError {
    ApiError::Unreachable(error.to_string())
}

fn refused(refusal: Refusal) -> ApiError {
    let Refusal { code, reason, message, retry_after, .. } = refusal;
    ApiError::Status { code, reason, message, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_selectors() {
        assert_eq!(collection(Resource::Pods, None), "/api/v1/pods");
        assert_eq!(collection(Resource::Secrets, Some("a/b")), "/api/v1/namespaces/a%2Fb/secrets");
        let bundles = collection(Resource::ClusterTrustBundles, Some("x"));
        assert_eq!(bundles, "/apis/certificates.k8s.io/v1beta1/clustertrustbundles");
        let one =
            Selection { name: Some("a".into()), fields: "spec.nodeName=n".into(), ..Selection::default() };
        assert_eq!(one.field_selector(), "metadata.name=a,spec.nodeName=n");
    }

    #[tokio::test]
    async fn an_object_that_is_missing_is_told_from_a_path_that_is_not_served() {
        use axum::{Router, http::StatusCode, routing::get};
        use tokensmith_client::{Target, target};
        let missing = r#"{"kind":"Status","reason":"NotFound","message":"the server could not find the requested resource \"secrets\"","details":{"name":"a","kind":"secrets"},"code":404}"#;
        let unserved =
            r#"{"kind":"Status","reason":"NotFound","message":"not here","details":{},"code":404}"#;
        let app = Router::new()
            .route(
                "/api/v1/namespaces/n/secrets/a",
                get(move || async move { (StatusCode::NOT_FOUND, missing) }),
            )
            .fallback(move || async move { (StatusCode::NOT_FOUND, unserved) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = target::parse_url(&format!("http://{}", listener.local_addr().unwrap()), "it").unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::new(&Target::of(server)).unwrap();
        let api: &dyn ApiServer = &client;
        // By what the answer is about, whatever its words are.
        assert!(api.get(Resource::Secrets, Some("n"), "a").await.unwrap().is_none());
        let error = api.get(Resource::ClusterTrustBundles, None, "a").await.unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (Some(404), "not here"));
    }

    #[test]
    fn events() {
        let applied =
            event(Resource::Pods, br#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#).unwrap();
        assert!(matches!(applied, Event::Applied(o) if o.kind() == "Pod" && o.name() == "a"));
        let mark = br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
        assert!(matches!(event(Resource::Pods, mark).unwrap(), Event::Bookmark(v) if v == "7"));
        let gone = br#"{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}"#;
        assert_eq!(event(Resource::Pods, gone).unwrap_err().code(), Some(410));
        for nonsense in [&b"{}"[..], b"[]", b"x", br#"{"type":"ADDED","object":1}"#] {
            assert!(event(Resource::Pods, nonsense).is_err());
        }
    }

    #[test]
    fn a_reply_without_its_times_is_none() {
        let mut reply = json!({
            "spec": { "expirationSeconds": 600 },
            "status": { "token": "t", "expirationTimestamp": "2026-01-01T00:10:00Z" },
        });
        let token = issued(&reply).unwrap();
        assert_eq!((token.expiration_seconds, token.expires_at.unix_timestamp()), (600, 1_767_226_200));
        reply["spec"]["expirationSeconds"] = Value::Null;
        assert_eq!(
            issued(&reply).unwrap_err().to_string(),
            "the server's TokenRequest has no expirationSeconds"
        );
    }
}
