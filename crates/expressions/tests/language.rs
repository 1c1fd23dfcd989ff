//! What of the language there is, through the one door.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use serde_json::{Value, json};
use tokensmith_expressions::{EvaluationError, Expression, Variables};

fn claims() -> Value {
    json!({
        "sub": "repo:acme/shop:ref:refs/heads/main",
        "email": "Ann@Example.com",
        "aud": ["vault", "db"],
        "groups": ["admins", "devs"],
        "exp": 1_767_265_200_u64,
        "ratio": 0.5,
        "big": u64::MAX,
        "admin": true,
        "nothing": null,
        "kubernetes.io": {"namespace": "pay", "serviceaccount": {"name": "api", "uid": "u"}},
        "nested": {"list": [{"name": "a", "ok": true}, {"name": "b", "ok": false}]},
        "arn": "arn:aws:sts::1234:assumed-role/build/session-1",
    })
}

fn evaluate(text: &str) -> Result<Value, EvaluationError> {
    let claims = claims();
    let google = json!({"subject": "ann", "groups": ["admins"]});
    let mut variables = Variables::new();
    variables.insert("assertion", &claims).unwrap();
    variables.insert("google", &google).unwrap();
    Expression::compile(text, &["assertion", "google"]).expect(text).evaluate(&variables)
}

#[test]
fn what_google_documents_for_mappings_and_conditions_works() {
    for (text, value) in [
        ("assertion.sub", json!("repo:acme/shop:ref:refs/heads/main")),
        ("'admins' in google.groups", json!(true)),
        ("'ops' in google.groups", json!(false)),
        ("has(assertion.email) && !has(assertion.phone)", json!(true)),
        ("assertion['kubernetes.io']['namespace']", json!("pay")),
        ("assertion['kubernetes.io'].serviceaccount.name", json!("api")),
        ("assertion.sub.startsWith('repo:acme/')", json!(true)),
        ("assertion.sub.endsWith('main') && assertion.sub.contains('shop')", json!(true)),
        ("assertion.sub.matches('^repo:[a-z]+/shop:')", json!(true)),
        ("matches(assertion.sub, 'acme')", json!(true)),
        ("assertion.sub.matches(assertion.email)", json!(false)),
        ("assertion.arn.extract('assumed-role/{role}/')", json!("build")),
        (
            "assertion.arn.contains('assumed-role') ? assertion.arn.extract('{account_arn}assumed-role/') + 'assumed-role/' + assertion.arn.extract('assumed-role/{role_name}/') : assertion.arn",
            json!("arn:aws:sts::1234:assumed-role/build"),
        ),
        ("assertion.sub.split(':')", json!(["repo", "acme/shop", "ref", "refs/heads/main"])),
        ("assertion.sub.split(':')[1]", json!("acme/shop")),
        ("'ab'.split('')", json!(["a", "b"])),
        ("''.split(',')", json!([""])),
        ("assertion.groups.join(',') + assertion.aud.join()", json!("admins,devsvaultdb")),
        ("assertion.email.lowerAscii()", json!("ann@example.com")),
        ("assertion.email.upperAscii().replace('@', ' at ')", json!("ANN at EXAMPLE.COM")),
        ("' a '.trim() + 'abc'.substring(1) + 'abc'.substring(0, 1) + 'abc'.charAt(1)", json!("abcab")),
        ("['äbcb'.indexOf('b'), 'äbcb'.lastIndexOf('b'), 'äbcb'.indexOf('x')]", json!([1, 3, -1])),
        ("assertion.groups.map(g, 'oidc:' + g)", json!(["oidc:admins", "oidc:devs"])),
        ("assertion.groups.map(g, g != 'devs', g)", json!(["admins"])),
        ("assertion.groups.filter(g, g.startsWith('a'))", json!(["admins"])),
        ("assertion.groups.exists(g, g == 'devs')", json!(true)),
        ("assertion.groups.all(g, g != 'root')", json!(true)),
        ("assertion.groups.exists_one(g, g.startsWith('a'))", json!(true)),
        ("assertion.nested.list.filter(i, i.ok).map(i, i.name)", json!(["a"])),
        ("assertion.nested.list.exists(i, assertion.groups.exists(g, g.startsWith(i.name)))", json!(true)),
        (
            "{'env': assertion.admin ? 'prod' : 'dev', 'n': size(assertion.groups)}",
            json!({"env": "prod", "n": 2}),
        ),
        ("assertion.groups + ['x'] == ['admins', 'devs', 'x']", json!(true)),
        ("[1 + 2 * 3 - 4 / 2 % 3, -assertion.exp]", json!([5, -1_767_265_200_i64])),
        ("assertion.ratio < 1 && assertion.ratio == 0.5 && assertion.big > 1", json!(true)),
        ("string(assertion.exp) + string(true) + string(1.5)", json!("1767265200true1.5")),
        ("[int('7'), size('äb'), 'abc'.size(), int(2.9)]", json!([7, 2, 3, 2])),
        ("type(assertion.sub) == string && type(1) == int", json!(true)),
        ("assertion.nothing == null", json!(true)),
        ("bool('true') && double('1.5') == 1.5 && uint('1') == 1u && dyn(1) == 1", json!(true)),
        // An operand that decides hides the other one's error, in either order.
        ("true || assertion.none == 1", json!(true)),
        ("assertion.none == 1 || true", json!(true)),
        ("false && assertion.none == 1", json!(false)),
        ("// a comment\n  assertion.admin", json!(true)),
        (r#"r'\d' + "\u00e4\n" + '''x'''"#, json!("\\dä\nx")),
    ] {
        assert_eq!(evaluate(text), Ok(value), "{text}");
    }
}

#[test]
fn what_has_no_value_says_why_without_the_claims() {
    for (text, why) in [
        ("assertion.phone", "no such key: phone"),
        ("assertion.sub + 1", "'add' does not take values of these types"),
        (
            "assertion.sub.startsWith(1)",
            "found no matching overload for 'startsWith' applied to 'string.(int)'",
        ),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "'add' overflows"),
        ("assertion.groups[7]", "an index is out of bounds"),
        ("{'a': 1, 'a': 2}", "a map has a key twice"),
        ("{1: 2}", "its value is a map whose keys are no strings"),
        ("b'x'", "its value is of a type that JSON does not have"),
        ("type(1)", "its value is of a type that JSON does not have"),
        ("1.0 / 0.0", "its value is a number that is none"),
        ("assertion.sub.extract('{')", "extract: a template has one name in braces"),
        ("assertion.sub.matches(google.subject + '(')", "matches: no regular expression: unclosed group"),
        ("[1].join(',')", "a value is no list of strings"),
    ] {
        assert_eq!(evaluate(text), Err(EvaluationError::Failed(why.into())), "{text}");
    }
    let claims = json!({"sub": "a"});
    let mut variables = Variables::new();
    variables.insert("assertion", &claims).unwrap();
    let sub = Expression::compile("assertion.sub", &["assertion"]).unwrap();
    assert_eq!(sub.evaluate_string(&variables).as_deref(), Ok("a"));
    assert_eq!(
        sub.evaluate_bool(&variables).unwrap_err().to_string(),
        "its value is a string, where a bool is needed"
    );
    assert!(sub.uses("assertion") && !sub.uses("google"));
}

#[test]
fn what_is_no_expression_is_told_with_its_place() {
    let error = |text: &str| Expression::compile(text, &["assertion", "google"]).unwrap_err().to_string();
    for (text, said) in [
        ("asertion.sub", "1:1: undeclared reference to 'asertion': there is assertion, google"),
        ("true &&\n  x == 1", "2:3: undeclared reference to 'x': there is assertion, google"),
        (
            "assertion.groups.exists(g, h == g)",
            "1:28: undeclared reference to 'h': there is assertion, google",
        ),
        (
            "assertion.groups.exists(g, true) && g",
            "1:37: undeclared reference to 'g': there is assertion, google",
        ),
        ("assertion.sub.startWith('x')", "1:24: undeclared function 'startWith'"),
        ("startsWith(assertion.sub, 'x')", "1:11: 'startsWith' is called as x.startsWith(…)"),
        ("assertion.sub.string()", "1:21: 'string' is called as string(…)"),
        ("assertion.sub.split()", "1:20: 'split' does not take 0 arguments"),
        ("assertion.sub.matches('(')", "1:23: no regular expression: unclosed group"),
        ("assertion.sub.matches('(\\\\w{100}){100}')", "1:23: the regular expression is too large"),
        ("google.protobuf.Duration{seconds: 1}", "1:25: there are no messages here"),
        ("optional.of(1)", "1:12: undeclared function 'of'"),
    ] {
        assert_eq!(error(text), said, "{text}");
    }
    for text in [
        "",
        " ",
        "(",
        "assertion.",
        "1 +",
        "a b",
        "'x",
        "assertion.?sub",
        "[?1]",
        "@tick(1)",
        "\u{0}",
        "assertion.sub = 1",
        "has(1)",
        "\"\\ud800\"",
    ] {
        let error = Expression::compile(text, &["assertion"]).unwrap_err();
        assert!(error.line == 1 && error.column >= 1 && !error.message.contains('\n'), "{text:?}: {error}");
    }
    let none = Expression::compile("x", &[]).unwrap_err().to_string();
    assert_eq!(none, "1:1: undeclared reference to 'x': there are no variables");
}
