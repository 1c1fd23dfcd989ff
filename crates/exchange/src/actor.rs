//! Who acts for a subject (RFC 8693 §4): whether the subject's token lets them, and how the new token tells.

use serde_json::{Map, Value, json};

use crate::subject::{Kind, Subject};

/// As many may have acted one for the other.
const DEEPEST: usize = 8;

/// Whether the subject's token names this actor: each member of `may_act` is a claim of the actor's token (RFC 8693 §4.4). `None` when
/// it names nobody.
pub(crate) fn may_act(subject: &Subject, actor: &Subject) -> Option<bool> {
    let named = subject.claims.get("may_act")?;
    // One that cannot be read names nobody.
    let Some(named) = named.as_object().filter(|named| named.get("sub").is_some_and(Value::is_string)) else {
        return Some(false);
    };
    // Without an issuer the subject's own is meant: another one may have anybody of that name.
    let issuer = named.get("iss").map_or(Some(subject.issuer.as_str()), Value::as_str);
    let same = named.iter().all(|(name, value)| actor.claims.get(name) == Some(value));
    Some(same && issuer == Some(actor.issuer.as_str()))
}

/// `act` of the new token: the actor, then those that acted before. `Err`: what the subject's token says of them cannot be read.
pub(crate) fn chain(subject: &Subject, actor: Option<&Subject>) -> Result<Option<Value>, String> {
    let left = DEEPEST.saturating_sub(usize::from(actor.is_some()));
    // What this endpoint has written itself is complete; of others each name is one of their issuer's.
    let issuer = (subject.kind != Kind::Exchanged).then_some(subject.issuer.as_str());
    let before = subject.claims.get("act").map(|act| identities(act, issuer, left)).transpose()?;
    let Some(actor) = actor else { return Ok(before) };
    let mut act = json!({"sub": actor.id});
    if let Some(before) = before {
        act["act"] = before;
    }
    Ok(Some(act))
}

/// Who is named, without what else is said of them: times and audiences mean nothing there (RFC 8693 §4.1). A name is told as a
/// subject is, with the issuer whose it is: the one that stands beside it, else the token's. No foreign actor looks like one of ours.
fn identities(act: &Value, issuer: Option<&str>, left: usize) -> Result<Value, String> {
    let Some(left) = left.checked_sub(1) else { return Err("too many have acted one for the other".into()) };
    let wrong = || "its act cannot be read".to_owned();
    let given = act.as_object().ok_or_else(wrong)?;
    let sub = given.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty()).ok_or_else(wrong)?;
    let named = match (issuer, given.get("iss")) {
        (None, _) => sub.to_owned(),
        (Some(issuer), None) => format!("{issuer}#{sub}"),
        (Some(_), Some(Value::String(iss))) if !iss.is_empty() && !iss.contains('#') => {
            format!("{iss}#{sub}")
        }
        _ => return Err(wrong()),
    };
    let mut out = Map::new();
    out.insert("sub".into(), named.into());
    if let Some(before) = given.get("act") {
        out.insert("act".into(), identities(before, issuer, left)?);
    }
    Ok(Value::Object(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(issuer: &str, claims: Value) -> Subject {
        let claims = claims.as_object().unwrap().clone();
        let sub = claims["sub"].as_str().unwrap().to_owned();
        Subject {
            kind: Kind::Issuer,
            id: format!("{issuer}#{sub}"),
            name: format!("{issuer}#{sub}"),
            issuer: issuer.into(),
            sub,
            audiences: Vec::new(),
            jti: None,
            expires_at: 0,
            claims,
            tie: None,
        }
    }

    #[test]
    fn rfc8693_4_4_may_act_names_the_actor_by_all_its_members() {
        let jane = |may_act: Value| subject("i", json!({"sub": "jane", "may_act": may_act}));
        let of = |issuer: &str| subject(issuer, json!({"iss": issuer, "sub": "bob", "team": "a"}));
        let ask = |may: Value, actor: &str| may_act(&jane(may), &of(actor));
        assert_eq!(may_act(&subject("i", json!({"sub": "jane"})), &of("i")), None);
        for (named, actor, want) in [
            (json!({"sub": "bob"}), "i", true),
            (json!({"sub": "bob"}), "j", false),
            (json!({"sub": "bob", "iss": "j"}), "j", true),
            (json!({"sub": "bob", "iss": "i"}), "j", false),
            (json!({"sub": "bob", "team": "a"}), "i", true),
            (json!({"sub": "bob", "team": "b"}), "i", false),
            (json!({"sub": "bob", "email": "x"}), "i", false),
            (json!({"sub": "bo"}), "i", false),
            (json!({"sub": ["bob"]}), "i", false),
            (json!({"iss": "i"}), "i", false),
            (json!({}), "i", false),
            (json!("bob"), "i", false),
            (json!(null), "i", false),
            (json!({"sub": "bob", "iss": 1}), "i", false),
        ] {
            assert_eq!(ask(named.clone(), actor), Some(want), "{named} {actor}");
        }
    }

    #[test]
    fn rfc8693_4_1_actors_nest_and_nothing_else_comes_along() {
        let act = json!({"sub": "a", "iss": "x", "exp": 1, "act": {"sub": "b", "aud": ["y"]}});
        let jane = subject("i", json!({"sub": "jane", "act": act}));
        let bob = subject("i", json!({"sub": "bob"}));
        let want = json!({"sub": "i#bob", "act": {"sub": "x#a", "act": {"sub": "i#b"}}});
        assert_eq!(chain(&jane, Some(&bob)), Ok(Some(want)));
        assert_eq!(chain(&bob, None), Ok(None));
        let mut deep = json!({"sub": "a"});
        for _ in 0..8 {
            deep = json!({"sub": "a", "act": deep});
        }
        for wrong in [
            json!("a"),
            json!({}),
            json!({"sub": 1}),
            json!({"sub": ""}),
            json!({"sub": "a", "iss": "x#y"}),
            json!({"sub": "a", "act": []}),
            deep,
        ] {
            assert!(chain(&subject("i", json!({"sub": "j", "act": wrong})), None).is_err(), "{wrong}");
        }
    }
}
