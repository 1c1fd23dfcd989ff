//! `tokensmith token list` as a process: a hundred thousand tokens come page by page, and take no more room than a few.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A server that has so many tokens. At the last page it looks how much memory its client has needed.
struct Server {
    url: String,
    client: Arc<Mutex<Option<u32>>>,
    most_kilobytes: Arc<Mutex<u64>>,
}

impl Server {
    fn start(tokens: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (client, most_kilobytes) = (Arc::<Mutex<Option<u32>>>::default(), Arc::<Mutex<u64>>::default());
        let (pid, most) = (client.clone(), most_kilobytes.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (pid, most) = (pid.clone(), most.clone());
                std::thread::spawn(move || answer(stream.unwrap(), tokens, &pid, &most));
            }
        });
        Server { url, client, most_kilobytes }
    }

    fn list(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
        command.args(["token", "list", "--server", &self.url]).args(args).env_remove("KUBECONFIG");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        *self.client.lock().unwrap() = Some(child.id());
        child
    }

    /// What it prints, and the most memory that it had when the last page was asked for.
    fn listed(&self, args: &[&str]) -> (String, String, u64) {
        let output = self.list(args).wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        (String::from_utf8(output.stdout).unwrap(), error, *self.most_kilobytes.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, tokens: usize, pid: &Mutex<Option<u32>>, most: &Mutex<u64>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let parameter = |name: &str| {
            let query = request.split([' ', '?', '&']);
            let found = query.filter_map(|part| part.strip_prefix(name)).next();
            found.and_then(|value| value.parse::<usize>().ok())
        };
        let from = parameter("continue=").unwrap_or(0);
        let to = (from + parameter("limit=").unwrap()).min(tokens);
        let mut page = json!({ "tokens": (from..to).map(token).collect::<Vec<_>>() });
        if to < tokens {
            page["continue"] = to.to_string().into();
        } else if let Some(pid) = *pid.lock().unwrap() {
            *most.lock().unwrap() = peak(pid);
        }
        let body = page.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn token(number: usize) -> Value {
    json!({
        "jti": format!("00000001-{number:08}-4000-8000-000000000000"), "account": "payments/api", "uid": "u",
        "boundObject": { "kind": "Pod", "name": format!("api-{number}"), "uid": "p" },
        "audiences": ["https://kubernetes.default.svc.cluster.local", "vault"], "kid": "k".repeat(43),
        "issuedAt": "2026-01-01T10:00:00Z", "expiresAt": "2036-01-01T12:00:00Z", "requester": "system:node:worker-1",
    })
}

/// The most memory that a process has had, in kB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_hundred_thousand_tokens_take_no_more_room_than_a_thousand() {
    const MANY: usize = 100_000;
    let (few, many) = (Server::start(1000), Server::start(MANY));
    for form in ["table", "json", "yaml"] {
        let (_, _, least) = few.listed(&["--output", form]);
        let (text, _, most) = many.listed(&["--output", form]);
        println!("{form}: {least} kB with 1,000 tokens, {most} kB with {MANY}");
        assert!(most < least + 20_000, "{form}: {least} kB with 1,000 tokens, {most} kB with {MANY}");
        match form {
            "table" => assert_eq!(text.lines().count(), MANY + 1),
            "json" => {
                let list: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(list["tokens"].as_array().unwrap().len(), MANY);
                assert_eq!(list["tokens"][MANY - 1], token(MANY - 1));
            }
            _ => assert_eq!(text.matches("jti: ").count(), MANY),
        }
    }
}

#[test]
fn a_limit_counts_over_pages() {
    let server = Server::start(1200);
    let (text, error, _) = server.listed(&["--limit=700"]);
    assert_eq!(
        (text.lines().count(), error.as_str()),
        (701, "note: there are more tokens than --limit shows\n")
    );
    let (text, error, _) = server.listed(&["--limit=1200", "--output=json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((list["tokens"].as_array().unwrap().len(), error.as_str()), (1200, ""));
    let zero = server.list(&["--limit=0"]).wait_with_output().unwrap();
    let error = String::from_utf8(zero.stderr).unwrap();
    assert_eq!(zero.status.code(), Some(2), "{error}");
    assert!(
        error.starts_with("error: invalid value '0' for '--limit <NUMBER>': not a whole number from 1 on"),
        "{error}"
    );
}

#[test]
fn who_has_read_enough_ends_it_quietly() {
    let server = Server::start(100_000);
    let mut child = server.list(&[]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("JTI "), "{line}");
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    child.wait().unwrap();
    assert_eq!(error, "");
}
