use crate::pod::manifest::{MAX_BYTES, Manifest, Reading, manifest};

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n";

const HERE: Reading<'_> = Reading { file: "f.yaml", namespace: "here", templates: false };

fn names(text: &str) -> Vec<String> {
    manifest(text, &HERE).unwrap().taken.iter().map(|item| item.what()).collect()
}

fn taken(text: &str) -> Vec<tokensmith_objects::Object> {
    manifest(text, &HERE).unwrap().taken.into_iter().map(|item| item.object).collect()
}

fn error(text: &str) -> String {
    manifest(text, &HERE).unwrap_err().to_string()
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
    let objects = taken(text);
    assert!(objects[0].str_at(&["data", "ca.crt"]).starts_with("-----BEGIN"));
}

#[test]
fn defaults_are_filled_in() {
    let text = POD.replace(
        "containers:",
        "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}], containers:",
    );
    let pod = &taken(&text)[0];
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
    assert_eq!(taken(&text)[0].0["spec"]["volumes"][0]["projected"]["defaultMode"], 0o400);
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
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-}\nspec: {containers: [{name: c, image: i}]}\n",
            "Pod web-… has a generateName: each start would make another one and find no volume again; give it a metadata.name",
        ),
        (
            r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[]}]}"#,
            "items[0]: a List in a list is not read",
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
    assert!(error(&" ".repeat(MAX_BYTES + 1)).starts_with("a manifest may not have more than"));
}

#[test]
fn what_is_not_taken_is_named_with_its_place() {
    let text = format!(
        "# a comment\n\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r, namespace: x}}\n---\n{POD}---\napiVersion: example.com/v1\nkind: AllowList\nmetadata: {{generateName: a-}}\n--- \n{WORKLOADS}"
    );
    let found = manifest(&text, &HERE).unwrap();
    assert_eq!(found.pods().map(|item| item.place.to_string()).collect::<Vec<_>>(), ["f.yaml:7"]);
    let left: Vec<String> = found.left.iter().map(ToString::to_string).collect();
    assert_eq!(
        left,
        [
            "f.yaml:3: Role x/r is left out: no volume is made of it",
            "f.yaml:12: AllowList a-… is left out: no volume is made of it",
            "f.yaml:16 items[0]: Deployment web is left out: --from-templates takes the pod of its template",
            "f.yaml:16 items[1]: StatefulSet db is left out: --from-templates takes the pod of its template",
            "f.yaml:16 items[2]: CronJob night is left out: --from-templates takes the pod of its template",
            "f.yaml:16 items[3]: PodTemplate plain is left out: --from-templates takes the pod of its template",
        ]
    );
    // Other groups have lists, too.
    let list = "apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: d}}]\n";
    assert_eq!(manifest(list, &HERE).unwrap().left[0].what, "Deployment d");
}

const WORKLOADS: &str = r#"apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec:
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}, annotations: {a: b}}
      spec: {serviceAccountName: robot, containers: [{name: c, image: i}]}
- apiVersion: apps/v1
  kind: StatefulSet
  metadata: {name: db}
  spec:
    serviceName: dbs
    ordinals: {start: 3}
    selector: {matchLabels: {app: db}}
    template:
      metadata: {labels: {app: db}}
      spec:
        containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /data}]}]
        volumes: [{name: data, emptyDir: {}}]
    volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: night}
  spec:
    schedule: "0 3 * * *"
    jobTemplate:
      spec:
        template:
          spec: {restartPolicy: Never, containers: [{name: c, image: i}]}
- apiVersion: v1
  kind: PodTemplate
  metadata: {name: plain}
  template:
    spec: {containers: [{name: c, image: i}]}
"#;

#[test]
fn the_pods_of_templates() {
    let with = Reading { templates: true, ..HERE };
    let found = manifest(WORKLOADS, &with).unwrap();
    assert!(found.left.is_empty());
    let what: Vec<String> = found.taken.iter().map(|item| item.what()).collect();
    assert_eq!(what, ["Pod here/web", "Pod here/db-3", "Pod here/night", "Pod here/plain"]);
    let [web, db, ..] = &found.taken[..] else { panic!() };
    assert_eq!(web.object.0["metadata"]["labels"]["app"], "web");
    assert_eq!(web.object.0["metadata"]["annotations"]["a"], "b");
    assert_eq!(web.object.str_at(&["spec", "serviceAccountName"]), "robot");
    let db = &db.object.0;
    assert_eq!(db["spec"]["volumes"].as_array().unwrap().len(), 1, "the claim takes its place");
    assert_eq!(db["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-3");
    assert_eq!(db["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "3");
    assert_eq!((&db["spec"]["hostname"], &db["spec"]["subdomain"]), (&"db-3".into(), &"dbs".into()));
    let empty = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {}}\n";
    let error = manifest(empty, &with).unwrap_err().to_string();
    assert!(error.contains("Deployment d") || error.contains("Pod \"d\""), "{error}");
}

#[test]
fn what_stands_twice_is_told_with_both_places() {
    let read = |file| manifest(POD, &Reading { file, ..HERE }).unwrap();
    let error = Manifest::join([&read("a.yaml"), &read("b.yaml")]).unwrap_err();
    assert_eq!(error.to_string(), "Pod here/p stands twice: a.yaml:1 and b.yaml:1");
    let twice = manifest(&format!("{POD}---\n{POD}"), &HERE).unwrap();
    let error = Manifest::join([&twice]).unwrap_err();
    assert_eq!(error.to_string(), "Pod here/p stands twice: f.yaml:1 and f.yaml:6");
}

#[test]
fn a_byte_order_mark_is_no_content() {
    assert_eq!(names(&format!("\u{feff}{POD}")), ["Pod here/p"]);
}
