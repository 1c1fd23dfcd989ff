//! Documents as gnostic's protobuf messages (`openapiv2/OpenAPIv2.proto`, `openapiv3/OpenAPIv3.proto`): what of them
//! these documents use, as data.

use serde_json::Value;
use tokensmith_api::proto::{close, open, put_bytes, put_fixed64, put_varint};

use super::Form as Version;

/// What an object of JSON is in protobuf.
enum Message {
    /// Members by name; those that begin with `x-` are entries of the field `extensions`.
    Fields { fields: &'static [(&'static str, u32, Form)], extensions: u32 },
    /// Each member is an entry, a name and a value, of one field.
    Members(u32, &'static Message),
    /// A field that holds all of it.
    Within(u32, &'static Message),
    /// A reference is this field, everything else that one.
    OrReference(u32, u32, &'static Message),
    /// Which one it is says its `in`.
    ByPlace(&'static [(&'static str, &'static Message)]),
    /// A list of text, field 1.
    List,
}

/// What a member of it is.
enum Form {
    /// A value as YAML.
    Any,
    /// A list of such.
    AnyOf,
    /// A message that has one of three scalars, or none of them.
    Default,
    Flag,
    Many(&'static Message),
    One(&'static Message),
    Text,
    Texts,
    /// A list of one text, field 1 of a message.
    Type,
}

pub(super) fn encode(document: &Value, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    let message = match version {
        Version::V2 => &V2,
        Version::V3 => &V3,
    };
    write(&mut out, document, message);
    out
}

fn write(out: &mut Vec<u8>, value: &Value, message: &'static Message) {
    match message {
        Message::Fields { fields, extensions } => {
            for (name, value) in value.as_object().into_iter().flatten() {
                if name.starts_with("x-") {
                    named(out, *extensions, name, |out| any(out, value));
                } else if let Some((_, number, form)) = fields.iter().find(|(own, ..)| own == name) {
                    member(out, *number, value, form);
                }
            }
        }
        Message::Members(number, of) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                named(out, *number, name, |out| write(out, value, of));
            }
        }
        Message::Within(number, of) => within(out, *number, |out| write(out, value, of)),
        Message::OrReference(reference, number, of) => match value.get("$ref").and_then(Value::as_str) {
            Some(to) => within(out, *reference, |out| put_bytes(out, 1, to.as_bytes())),
            None => within(out, *number, |out| write(out, value, of)),
        },
        Message::ByPlace(places) => {
            let place = value["in"].as_str().unwrap_or_default();
            if let Some((_, of)) = places.iter().find(|(own, _)| *own == place) {
                write(out, value, of);
            }
        }
        Message::List => texts(out, 1, value),
    }
}

fn member(out: &mut Vec<u8>, number: u32, value: &Value, form: &'static Form) {
    match form {
        Form::Any => within(out, number, |out| any(out, value)),
        Form::AnyOf => list(value).for_each(|one| within(out, number, |out| any(out, one))),
        Form::Default => within(out, number, |out| match value {
            Value::Number(n) => put_fixed64(out, 1, n.as_f64().unwrap_or_default().to_bits()),
            Value::Bool(set) => put_varint(out, 2, u64::from(*set)),
            Value::String(text) => put_bytes(out, 3, text.as_bytes()),
            _ => {}
        }),
        Form::Flag => {
            if value == &Value::Bool(true) {
                put_varint(out, number, 1);
            }
        }
        Form::Many(of) => list(value).for_each(|one| within(out, number, |out| write(out, one, of))),
        Form::One(of) => within(out, number, |out| write(out, value, of)),
        Form::Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Texts => texts(out, number, value),
        Form::Type => {
            within(out, number, |out| put_bytes(out, 1, value.as_str().unwrap_or_default().as_bytes()))
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(out: &mut Vec<u8>, number: u32, value: &Value) {
    list(value).filter_map(Value::as_str).for_each(|text| put_bytes(out, number, text.as_bytes()));
}

fn within(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let at = open(out, number);
    content(out);
    close(out, at);
}

fn named(out: &mut Vec<u8>, number: u32, name: &str, content: impl FnOnce(&mut Vec<u8>)) {
    within(out, number, |out| {
        put_bytes(out, 1, name.as_bytes());
        within(out, 2, content);
    });
}

/// `Any`: its field 2 is YAML, which JSON is.
fn any(out: &mut Vec<u8>, value: &Value) {
    put_bytes(out, 2, format!("{value}\n").as_bytes());
}

static V3: Message = Message::Fields {
    fields: &[
        ("openapi", 1, Form::Text),
        ("info", 2, Form::One(&INFO3)),
        ("paths", 4, Form::One(&PATHS3)),
        ("components", 5, Form::One(&COMPONENTS3)),
    ],
    extensions: 9,
};
static INFO3: Message =
    Message::Fields { fields: &[("title", 1, Form::Text), ("version", 6, Form::Text)], extensions: 7 };
static PATHS3: Message = Message::Members(1, &PATH3);
static PATH3: Message = Message::Fields {
    fields: &[
        ("get", 4, Form::One(&OPERATION3)),
        ("put", 5, Form::One(&OPERATION3)),
        ("post", 6, Form::One(&OPERATION3)),
        ("delete", 7, Form::One(&OPERATION3)),
        ("options", 8, Form::One(&OPERATION3)),
        ("head", 9, Form::One(&OPERATION3)),
        ("patch", 10, Form::One(&OPERATION3)),
        ("parameters", 13, Form::Many(&PARAMETER_OR3)),
    ],
    extensions: 14,
};
static OPERATION3: Message = Message::Fields {
    fields: &[
        ("tags", 1, Form::Texts),
        ("operationId", 5, Form::Text),
        ("parameters", 6, Form::Many(&PARAMETER_OR3)),
        ("requestBody", 7, Form::One(&BODY_OR3)),
        ("responses", 8, Form::One(&RESPONSES3)),
    ],
    extensions: 13,
};
static PARAMETER_OR3: Message = Message::OrReference(2, 1, &PARAMETER3);
static PARAMETER3: Message = Message::Fields {
    fields: &[
        ("name", 1, Form::Text),
        ("in", 2, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 10, Form::One(&SCHEMA_OR3)),
    ],
    extensions: 14,
};
static BODY_OR3: Message = Message::OrReference(2, 1, &BODY3);
static BODY3: Message = Message::Fields {
    fields: &[("content", 2, Form::One(&CONTENT3)), ("required", 3, Form::Flag)],
    extensions: 4,
};
static CONTENT3: Message = Message::Members(1, &MEDIA3);
static MEDIA3: Message = Message::Fields { fields: &[("schema", 1, Form::One(&SCHEMA_OR3))], extensions: 5 };
static RESPONSES3: Message = Message::Members(2, &RESPONSE_OR3);
static RESPONSE_OR3: Message = Message::OrReference(2, 1, &RESPONSE3);
static RESPONSE3: Message = Message::Fields {
    fields: &[("description", 1, Form::Text), ("content", 3, Form::One(&CONTENT3))],
    extensions: 5,
};
static COMPONENTS3: Message = Message::Fields {
    fields: &[("schemas", 1, Form::One(&SCHEMAS3)), ("securitySchemes", 7, Form::One(&SECURITY3))],
    extensions: 10,
};
static SCHEMAS3: Message = Message::Members(1, &SCHEMA_OR3);
static SECURITY3: Message = Message::Members(1, &SCHEME_OR3);
static SCHEME_OR3: Message = Message::OrReference(2, 1, &SCHEME3);
static SCHEME3: Message = Message::Fields {
    fields: &[
        ("type", 1, Form::Text),
        ("description", 2, Form::Text),
        ("name", 3, Form::Text),
        ("in", 4, Form::Text),
    ],
    extensions: 9,
};
static SCHEMA_OR3: Message = Message::OrReference(2, 1, &SCHEMA3);
static SCHEMA3: Message = Message::Fields {
    fields: &[
        ("uniqueItems", 20, Form::Flag),
        ("required", 23, Form::Texts),
        ("enum", 24, Form::AnyOf),
        ("type", 25, Form::Text),
        ("allOf", 26, Form::Many(&SCHEMA_OR3)),
        ("oneOf", 27, Form::Many(&SCHEMA_OR3)),
        ("items", 30, Form::One(&WITHIN3)),
        ("properties", 31, Form::One(&SCHEMAS3)),
        ("additionalProperties", 32, Form::One(&WITHIN3)),
        ("default", 33, Form::Default),
        ("format", 35, Form::Text),
    ],
    extensions: 36,
};
static WITHIN3: Message = Message::Within(1, &SCHEMA_OR3);

static V2: Message = Message::Fields {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::One(&INFO2)),
        ("paths", 8, Form::One(&PATHS2)),
        ("definitions", 9, Form::One(&SCHEMAS2)),
        ("parameters", 10, Form::One(&PARAMETERS2)),
        ("security", 12, Form::Many(&REQUIREMENT2)),
        ("securityDefinitions", 13, Form::One(&SECURITY2)),
    ],
    extensions: 16,
};
static INFO2: Message =
    Message::Fields { fields: &[("title", 1, Form::Text), ("version", 2, Form::Text)], extensions: 7 };
static PATHS2: Message = Message::Members(2, &PATH2);
static PATH2: Message = Message::Fields {
    fields: &[
        ("get", 2, Form::One(&OPERATION2)),
        ("put", 3, Form::One(&OPERATION2)),
        ("post", 4, Form::One(&OPERATION2)),
        ("delete", 5, Form::One(&OPERATION2)),
        ("options", 6, Form::One(&OPERATION2)),
        ("head", 7, Form::One(&OPERATION2)),
        ("patch", 8, Form::One(&OPERATION2)),
        ("parameters", 9, Form::Many(&PARAMETER_OR2)),
    ],
    extensions: 10,
};
static OPERATION2: Message = Message::Fields {
    fields: &[
        ("tags", 1, Form::Texts),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Many(&PARAMETER_OR2)),
        ("responses", 9, Form::One(&RESPONSES2)),
        ("schemes", 10, Form::Texts),
    ],
    extensions: 13,
};
static PARAMETERS2: Message = Message::Members(1, &PARAMETER2);
static PARAMETER_OR2: Message = Message::OrReference(2, 1, &PARAMETER2);
static PARAMETER2: Message = Message::ByPlace(&[
    ("body", &Message::Within(1, &BODY2)),
    ("path", &Message::Within(2, &Message::Within(4, &IN_PATH2))),
    ("query", &Message::Within(2, &Message::Within(3, &IN_QUERY2))),
]);
static BODY2: Message = Message::Fields {
    fields: &[
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(&SCHEMA2)),
    ],
    extensions: 6,
};
static IN_PATH2: Message = Message::Fields {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("uniqueItems", 19, Form::Flag),
    ],
    extensions: 22,
};
static IN_QUERY2: Message = Message::Fields {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: 23,
};
static RESPONSES2: Message = Message::Members(1, &RESPONSE_OR2);
static RESPONSE_OR2: Message = Message::OrReference(2, 1, &RESPONSE2);
static RESPONSE2: Message = Message::Fields {
    fields: &[("description", 1, Form::Text), ("schema", 2, Form::One(&WITHIN2))],
    extensions: 5,
};
static SCHEMAS2: Message = Message::Members(1, &SCHEMA2);
static SCHEMA2: Message = Message::Fields {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("default", 5, Form::Any),
        ("required", 19, Form::Texts),
        ("additionalProperties", 21, Form::One(&WITHIN2)),
        ("type", 22, Form::Type),
        ("items", 23, Form::One(&WITHIN2)),
        ("properties", 25, Form::One(&SCHEMAS2)),
    ],
    extensions: 31,
};
static WITHIN2: Message = Message::Within(1, &SCHEMA2);
static REQUIREMENT2: Message = Message::Members(1, &Message::List);
static SECURITY2: Message = Message::Members(1, &Message::Within(2, &KEY2));
static KEY2: Message = Message::Fields {
    fields: &[
        ("type", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("description", 4, Form::Text),
    ],
    extensions: 5,
};
