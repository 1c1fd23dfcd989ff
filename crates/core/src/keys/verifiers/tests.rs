use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-01 10:00:00 UTC);

/// What is told of the one family whose name begins so.
#[track_caller]
fn of<'a>(all: &'a [VerifierAdvice], name: &str) -> &'a VerifierAdvice {
    let mut found = all.iter().filter(|told| told.verifier.starts_with(name));
    let one = found.next().unwrap_or_else(|| panic!("nothing is told of {name}"));
    assert!(found.next().is_none(), "{name} is told of twice");
    one
}

#[test]
fn a_revocation_is_followed_by_each_in_its_own_way() {
    let all = after_revocation(&RotationPolicy::default(), NOW);
    assert_eq!(all.len(), FAMILIES.len());
    for (name, until, words) in [
        ("go-oidc v3", None, "until they meet an unknown kid or start anew, however long that is"),
        ("go-oidc 2.5", None, "one that they meet before 2026-01-01T11:00:00Z may do nothing"),
        ("TokenReview", Some(NOW), "refuse its tokens at once"),
        (
            "kube-apiserver with our",
            Some(datetime!(2026-01-01 10:05:10 UTC)),
            "no more than 10 s after they have met",
        ),
        (
            "PyJWT",
            Some(datetime!(2026-01-01 10:05 UTC)),
            "an unknown kid 30 s or more after they last fetched",
        ),
        (
            "jose",
            Some(datetime!(2026-01-01 10:10 UTC)),
            "until 2026-01-01T10:10:00Z at the latest; sooner, if they meet",
        ),
        (
            "Spring",
            Some(datetime!(2026-01-01 10:05 UTC)),
            "until 2026-01-01T10:05:00Z at the latest; sooner, if they meet an unknown kid",
        ),
        ("jwks-rsa", Some(datetime!(2026-01-01 10:10 UTC)), "until 2026-01-01T10:10:00Z at the latest"),
        ("Authlib", None, "until they start anew or their program fetches the key set again"),
        ("Istio", Some(datetime!(2026-01-01 10:20 UTC)), "until 2026-01-01T10:20:00Z at the latest"),
        ("tokensmith proxy", Some(datetime!(2026-01-01 11:00 UTC)), "10 s or more after they last fetched"),
        ("verifiers that keep to max-age", Some(datetime!(2026-01-01 11:00 UTC)), "at the latest"),
        ("verifiers that keep a key set for a day", Some(datetime!(2026-01-02 10:00 UTC)), "at the latest"),
    ] {
        let told = of(&all, name);
        assert_eq!(told.until, until, "{name}");
        assert!(told.text.contains(words), "{name}: {}", told.text);
    }
    // Who never asks is not told to be sooner, nor who keeps what it knows.
    for name in ["Istio", "Authlib", "jwks-rsa"] {
        assert!(!of(&all, name).text.contains("sooner"), "{name}");
    }
}

#[test]
fn a_poke_makes_fetch_who_asks_at_an_unknown_kid() {
    let all = poked(&RotationPolicy::default());
    for (name, words) in [
        ("go-oidc v3", "fetch at once"),
        ("go-oidc 2.5", "only once the max-age (1 h)"),
        ("TokenReview", "need none"),
        ("kube-apiserver with our", "fetch at once, and go on for 10 s"),
        ("PyJWT", "within the last 30 s: show it again 30 s later"),
        ("jose", "within the last 30 s"),
        ("Spring", "fetch at once"),
        ("jwks-rsa", "keep the keys that they know: they forget each after 600 s at the latest"),
        ("Authlib", "do not fetch: their program must"),
        ("Istio", "do not fetch: they do so after 20 min at the latest"),
        ("tokensmith proxy", "within the last 10 s"),
        ("verifiers that keep a key set for a day", "do not fetch: they do so after 24 h"),
    ] {
        assert!(of(&all, name).text.contains(words), "{name}: {}", of(&all, name).text);
    }
}

#[test]
fn a_key_that_nobody_knows_is_refused_by_who_does_not_ask_at_once() {
    let policy = RotationPolicy::default();
    let names = |all: &[VerifierAdvice]| all.iter().map(|told| told.verifier).collect::<Vec<_>>();
    let all = refusing(&policy, NOW, NOW);
    let taken = ["go-oidc v3", "TokenReview", "kube-apiserver with our", "Spring", "jwks-rsa"];
    for family in FAMILIES {
        let takes = taken.iter().any(|name| family.name.starts_with(name));
        assert_eq!(names(&all).contains(&family.name), !takes, "{}", family.name);
    }
    assert_eq!(of(&all, "go-oidc 2.5").until, Some(NOW + policy.max_age));
    assert_eq!(of(&all, "PyJWT").text, "until 2026-01-01T10:00:30Z");
    assert_eq!(of(&all, "Authlib").until, None);
    // Four seconds after it was published, as it was measured; and when all but one have had their time.
    assert!(names(&refusing(&policy, NOW, NOW + seconds(4))).iter().any(|n| n.starts_with("PyJWT")));
    let late = refusing(&policy, NOW, NOW + seconds(86_400));
    assert_eq!(late.len(), 1, "{late:?}");
    of(&late, "Authlib");
    // An operator may know of slower ones.
    let slow = RotationPolicy { publish_before: seconds(3 * 86_400), ..policy };
    let told = refusing(&slow, NOW, NOW + seconds(86_400));
    assert_eq!(told.last().map(|t| t.text.as_str()), Some("until 2026-01-04T10:00:00Z"), "{told:?}");
}

/// What was measured of the real ones (tests/verifiers/behaviour.json) is what their family is said to do.
#[test]
fn families_do_what_was_measured() {
    let text = include_str!("../../../../../tests/verifiers/behaviour.json");
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    assert!(all.len() >= 18, "{}", all.len());
    for (name, row) in &all {
        let family = FAMILIES.iter().find(|family| row["family"] == family.name);
        let family = family.unwrap_or_else(|| panic!("{name}: there is no family {}", row["family"]));
        let measured = ["/revocation/forgets", "/revocation/poked", "/unknownKey/asks"]
            .map(|place| row.pointer(place).and_then(serde_json::Value::as_str).unwrap_or_default());
        assert_eq!(measured.map(str::to_owned), in_the_suites_words(family), "{name}: {family:?}");
    }
}

/// When a family forgets a revoked key, when it does so if it is poked, and when it asks for an unknown one.
fn in_the_suites_words(family: &Family) -> [String; 3] {
    let after = |time| format!("after {}", span(time));
    let forgets = match family.forgets {
        Forgets::AtOnce => "at once".to_owned(),
        Forgets::After(time) if !family.remembers.is_zero() => {
            let (sync, remembers) = (time.saturating_sub(family.remembers), family.remembers);
            format!("after a sync ({} at the latest) and {}", span(sync), span(remembers))
        }
        // Who never asks fetches at its own times.
        Forgets::After(time) if family.asks == Asks::Never => format!("{} at the latest", after(time)),
        Forgets::After(time) | Forgets::EachAfter(time) => after(time),
        Forgets::AfterMaxAge => "after max-age".to_owned(),
        Forgets::AtUnknownKid | Forgets::WhenFetched => "never".to_owned(),
    };
    let asks = match family.asks {
        Asks::AfterCoolDown(pause) => after(pause),
        Asks::AfterMaxAge => "in the last 30 s of max-age and later".to_owned(),
        Asks::AtOnce => "at once".to_owned(),
        Asks::Never => forgets.clone(),
    };
    let poked = match family.forgets {
        Forgets::EachAfter(_) => forgets.clone(),
        _ if family.remembers.is_zero() => asks.clone(),
        _ => after(family.remembers),
    };
    [forgets, poked, asks]
}

/// The table that people read is this one, each row of it.
#[test]
fn the_page_on_keys_tells_the_same() {
    let page = include_str!("../../../../../docs/keys.md");
    for Family { name, forgets, asks, .. } in FAMILIES {
        let line = format!("| {name} | {forgets} | {asks} |");
        assert!(page.contains(&line), "docs/keys.md lacks\n{line}");
    }
    let head = "| verifier | forgets a revoked key | asks again for a key that it does not know |";
    let table = page.split(head).nth(1).unwrap().lines().skip(2).take_while(|line| line.starts_with('|'));
    assert_eq!(table.count(), FAMILIES.len(), "a row of docs/keys.md is of no family");
}

#[test]
fn spans_are_told_in_units_that_fit() {
    for (seconds_, want) in
        [(10, "10 s"), (300, "300 s"), (310, "310 s"), (1200, "20 min"), (3600, "1 h"), (86_400, "24 h")]
    {
        assert_eq!(span(seconds(seconds_)), want);
    }
}
