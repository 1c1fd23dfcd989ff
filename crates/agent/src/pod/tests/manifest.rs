use crate::pod::manifest;

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n";

fn names(text: &str) -> Vec<String> {
    let objects = manifest(text, "here").unwrap();
    objects.iter().map(|o| format!("{} {}/{}", o.kind(), o.namespace(), o.name())).collect()
}

fn error(text: &str) -> String {
    manifest(text, "here").unwrap_err().to_string()
}

#[test]
fn documents_and_lists() {
    assert_eq!(names(POD), ["Pod here/p"]);
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa, namespace: there}\n";
    let several = format!("---\n# first\n---\n{account}--- # the pod\n{POD}---\n\n---\n");
    assert_eq!(names(&several), ["ServiceAccount there/sa", "Pod here/p"]);
    assert_eq!(names(&format!("{account}---\r\n{POD}")), ["ServiceAccount there/sa", "Pod here/p"]);
    let json = r#" {"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"type":"kubernetes.io/tls","stringData":{"tls.crt":"a","tls.key":"b"}},
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"b"}}]}"#;
    assert_eq!(names(json), ["Secret here/s", "ConfigMap here/m"]);
    let pods = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n  spec: {containers: [{name: c, image: i}]}\n";
    assert_eq!(names(pods), ["Pod here/a"]);
}

#[test]
fn a_certificate_is_no_separator() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  ca.crt: |\n    -----BEGIN CERTIFICATE-----\n    AA==\n    -----END CERTIFICATE-----\n";
    let objects = manifest(text, "n").unwrap();
    assert!(objects[0].str_at(&["data", "ca.crt"]).starts_with("-----BEGIN"));
}

#[test]
fn defaults_are_filled_in() {
    let text = POD.replace(
        "containers:",
        "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}], containers:",
    );
    let pod = &manifest(&text, "n").unwrap()[0];
    let projected = &pod.0["spec"]["volumes"][0]["projected"];
    assert_eq!(projected["defaultMode"], 0o644);
    assert_eq!(projected["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600);
    assert_eq!(pod.str_at(&["spec", "restartPolicy"]), "Always");
}

#[test]
fn yaml_1_1_octals_are_modes() {
    let text = POD.replace(
        "containers:",
        "volumes: [{name: v, projected: {defaultMode: 0400, sources: []}}], containers:",
    );
    assert_eq!(manifest(&text, "n").unwrap()[0].0["spec"]["volumes"][0]["projected"]["defaultMode"], 0o400);
}

/// How short a token may live is for the server to say; everything else is judged here.
#[test]
fn short_tokens_pass() {
    let pod = |seconds: &str| {
        let volume = format!(
            "volumes: [{{name: v, projected: {{sources: [{{serviceAccountToken: {{path: t, expirationSeconds: {seconds}}}}}]}}}}], containers:"
        );
        POD.replace("containers:", &volume)
    };
    assert_eq!(names(&pod("10")), ["Pod here/p"]);
    assert_eq!(
        error(&pod("5000000000")),
        "Pod \"p\" is invalid: spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5000000000: may not specify a duration larger than 2^32 seconds"
    );
}

#[test]
fn refusals() {
    let misplaced = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: i\n    volumes:\n    - name: v\n";
    for (text, want) in [
        ("", "no objects in the manifest"),
        ("---\n# nothing\n", "no objects in the manifest"),
        ("- a\n", "the document is no object"),
        ("kind: Pod\n", "Object 'apiVersion' is missing"),
        ("apiVersion: v1\n", "Object 'Kind' is missing"),
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            "no use for kind \"Deployment\" in version \"apps/v1\": it must be one of ConfigMap, Pod, Secret, ServiceAccount",
        ),
        (
            "apiVersion: v1\nkind: Node\nmetadata: {name: x}\n",
            "no use for kind \"Node\" in version \"v1\": it must be one of ConfigMap, Pod, Secret, ServiceAccount",
        ),
        (
            misplaced,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.containers[0].volumes\"",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: 5}\n",
            "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {}\n",
            "Pod \"p\" is invalid: spec.containers: Required value",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p, name: q}\nspec: {containers: [{name: c, image: i}]}\n",
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: yaml: unmarshal errors:\\n  line 3: key \"name\" already set in map",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: ../p}\nspec: {}\n",
            "Pod \"../p\" is invalid: [metadata.name: Invalid value: \"../p\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.containers: Required value]",
        ),
        (
            r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}]}"#,
            "items[0]: Pod \"a\" is invalid: spec.containers: Required value",
        ),
        (r#"{"apiVersion":"v1","kind":"List","item":[]}"#, "strict decoding error: unknown field \"item\""),
        (r#"{"apiVersion":"v1","#, "json parse error: unexpected end of JSON input"),
    ] {
        let got = error(text);
        assert_eq!(got, want);
        assert!(!got.contains('\n'));
    }
    assert!(
        error(&format!("{POD}---\nkind: Pod\n")).starts_with("document 2: Object 'apiVersion' is missing")
    );
    assert!(error("a: [\n").starts_with("error converting YAML to JSON: "));
    assert!(error(&" ".repeat(manifest::MAX_BYTES + 1)).starts_with("a manifest may not have more than"));
}
