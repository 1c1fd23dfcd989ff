//! What came of it, for people and for programs.

use serde_json::{Value, json};
use tokensmith_core::access::why::decisive;
use tokensmith_core::access::{Attributes, Step};

use crate::output::{columns, printable};

/// An answer in the form in which a tokensmith server gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(Value);

impl Answer {
    /// As it was given.
    pub fn of(value: Value) -> Answer {
        Answer(value)
    }

    /// One that was put together from what a server says that gives none.
    pub fn made(code: u16, steps: &[Step], user: &Value, request: &str, notes: Vec<String>) -> Answer {
        let decided = decisive(steps);
        let denied = decided.filter(|_| code != 200);
        let layer = |step: &Step| json!({ "layer": step.rule, "holds": step.holds, "detail": step.detail });
        Answer(json!({
            "allowed": code == 200,
            "code": code,
            "decidedBy": decided.map(|step| step.rule),
            "detail": decided.map(|step| step.detail.as_str()),
            "request": request,
            "notes": notes,
            "user": user,
            "layers": steps.iter().map(layer).collect::<Vec<_>>(),
            "change": denied.map(|step| step.change.as_slice()).unwrap_or_default(),
        }))
    }

    /// Without what would change a refusal, where no rule could: one for what is not there would change nothing.
    pub fn in_vain(mut self, vain: bool) -> Answer {
        if vain && self.0["code"] == 403 {
            self.0["change"] = json!([]);
        }
        self
    }

    /// Whether it is allowed.
    pub fn allowed(&self) -> bool {
        self.0["allowed"] == true
    }

    /// For programs: `holds` is null where nobody was asked, or had anything to say.
    pub fn data(&self) -> Value {
        self.0.clone()
    }

    /// For people: what came of it and by what, then every layer, then what would change it.
    pub fn text(&self) -> String {
        let text = |value: &Value| printable(value.as_str().unwrap_or_default());
        let verdict = match self.allowed() {
            true => "allowed".to_owned(),
            false => format!("refused ({})", self.0["code"]),
        };
        let mut out = format!("{verdict}, by {}: {}\n", text(&self.0["decidedBy"]), text(&self.0["detail"]));
        let user = match text(&self.0["user"]["username"]) {
            name if name.is_empty() => String::new(),
            name => format!(", as {name}"),
        };
        out.push_str(&format!("{}{user}\n", text(&self.0["request"])));
        for note in self.0["notes"].as_array().into_iter().flatten() {
            out.push_str(&format!("note: {}\n", text(note)));
        }
        let rows: Vec<Vec<String>> = self.0["layers"].as_array().into_iter().flatten().map(row).collect();
        out.push_str(&format!("\n{}", columns(&["LAYER", "HOLDS", "WHY"], &rows)));
        let change: Vec<String> = self.0["change"].as_array().into_iter().flatten().map(text).collect();
        if !change.is_empty() {
            out.push_str(&format!("\nWhat would change it, one of:\n  {}\n", change.join("\n  ")));
        }
        out
    }
}

fn row(layer: &Value) -> Vec<String> {
    let mark = match layer["holds"].as_bool() {
        Some(true) => "ok",
        Some(false) => "FAILS",
        None => "-",
    };
    let text = |field: &str| layer[field].as_str().unwrap_or_default().to_owned();
    vec![text("layer"), mark.to_owned(), text("detail")]
}

/// What is asked of reviews, as people read it.
pub fn request(a: &Attributes) -> String {
    if !a.resource_request {
        return format!("{} {}", a.verb, a.path);
    }
    let group = if a.group.is_empty() { String::new() } else { format!(".{}", a.group) };
    let sub = if a.subresource.is_empty() { String::new() } else { format!("/{}", a.subresource) };
    let name = if a.name.is_empty() { String::new() } else { format!(" {}", a.name) };
    let scope = match a.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    format!("{} {}{group}{sub}{name}{scope}", a.verb, a.resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_comes_first_and_nothing_moves_the_cursor() {
        let steps = [
            Step::holds("time", "it expires soon"),
            Step::fails("RBAC", "no binding\u{1b}[2J").or("kubectl create role x"),
            Step::unasked("admission"),
        ];
        let user = json!({ "username": "system:serviceaccount:n:a" });
        let answer = Answer::made(403, &steps, &user, "get pods", vec!["odd".to_owned()]);
        assert!(!answer.allowed());
        assert_eq!(
            answer.text(),
            "refused (403), by RBAC: no binding\\u{1b}[2J\nget pods, as system:serviceaccount:n:a\nnote: odd\n\n\
             LAYER       HOLDS   WHY\ntime        ok      it expires soon\nRBAC        FAILS   no binding\\u{1b}[2J\nadmission   -       not asked\n\n\
             What would change it, one of:\n  kubectl create role x\n"
        );
        assert_eq!(answer.data()["layers"][2]["holds"], Value::Null);
        let yes = Answer::made(200, &steps[..1], &Value::Null, "get pods", Vec::new());
        assert!(yes.text().starts_with("allowed, by time: it expires soon\nget pods\n\nLAYER"));
        assert_eq!(yes.data()["change"], json!([]));
    }
}
