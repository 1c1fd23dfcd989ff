//! What another server is asked about, and what is odd about it: what a tokensmith server says itself (`server/routes/why/asked`),
//! said by what any server's discovery has.

use tokensmith_core::access::Attributes;
use tokensmith_core::access::request::RequestInfo;
use tokensmith_core::access::why::{is_of_requests, like, odd_verb};

use super::resource::Discovered;
use super::{Asked, What};
use crate::client::http::{Client, segment};
use crate::failure::Failure;

/// What reviews ask about.
pub struct Question {
    pub attributes: Attributes,
    /// What is odd about it.
    pub notes: Vec<String>,
    /// Whether no rule could help: there is no such thing.
    pub vain: bool,
}

impl Question {
    /// # Errors
    /// The server cannot be reached.
    pub async fn of(client: &Client, asked: &Asked) -> Result<Question, Failure> {
        let mut question = match &asked.what {
            What::Path(path) => Question::of_path(&asked.verb, path),
            What::Resource(resource) => {
                let (attributes, found) = resource.attributes(client, &asked.verb).await?;
                let mut question = Question { attributes, notes: Vec::new(), vain: false };
                question.judge(&found);
                question
            }
        };
        let a = &question.attributes;
        let odd = odd_verb(&a.verb, a.resource_request);
        question.vain |= odd.is_some();
        question.notes.extend(odd);
        question.look_for_namespace(client).await?;
        Ok(question)
    }

    fn of_path(verb: &str, path: &str) -> Question {
        let attributes = Attributes { verb: verb.to_owned(), path: path.to_owned(), ..Attributes::default() };
        let mut notes = Vec::new();
        if RequestInfo::parse("GET", path, "").attributes.resource_request {
            notes.push("a request for this path is one for a resource: ask by verb and resource".to_owned());
        }
        Question { attributes, notes, vain: false }
    }

    /// By what the server says that it serves. A part of that which could not be read may have what was not found.
    fn judge(&mut self, found: &Discovered) {
        let a = &self.attributes;
        match &found.served {
            None if found.whole => {
                let all: Vec<&str> = found.names.iter().map(String::as_str).collect();
                let meant = like(&a.resource.to_lowercase(), &all);
                let meant = meant.map_or_else(String::new, |meant| format!("; do you mean {meant}?"));
                self.notes.push(format!("this server has no resource type {:?}{meant}", a.resource));
                // Rights such as `impersonate` are on what no server serves.
                self.vain |= is_of_requests(&a.verb) && a.resource != "*";
            }
            Some(served) if !a.subresource.is_empty() && !served.subresources.contains(&a.subresource) => {
                self.notes.push(format!("this server has no {}/{}", a.resource, a.subresource));
            }
            _ => {}
        }
    }

    /// Says so where its namespace is not there, as far as who asks may know that.
    async fn look_for_namespace(&mut self, client: &Client) -> Result<(), Failure> {
        let namespace = &self.attributes.namespace;
        if namespace.is_empty() {
            return Ok(());
        }
        let path = format!("/api/v1/namespaces/{}", segment(namespace));
        if client.get(&path).await?.is_err_and(|refusal| refusal.code == 404) {
            self.notes
                .push(format!("there is no namespace {namespace:?}: a role in it can be made when there is"));
            self.vain = true;
        }
        Ok(())
    }
}
