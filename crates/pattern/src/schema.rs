//! The JSON Schema of pattern files, for editors. Words and limits come from the types that read them; what a schema cannot say is
//! the linter's.

use event::Channel;
use serde_json::{Value, json};

use crate::{
    Status,
    file::{GIVEN, LEVELS, OFFERS, PURPOSES, TESTS, out_channels},
};

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:waymark:schema:pattern",
        "title": "Waymark pattern",
        "description": "One pattern of a customer's journey: what to see, what to do, and its tests. What a schema cannot say is checked by `waymark pattern lint`.",
        "type": "object",
        "additionalProperties": false,
        "required": ["pattern", "version", "title", "owner", "status", "when", "then", "guard", "rollout", "tests"],
        "properties": {
            "pattern": { "$ref": "#/$defs/id", "description": "Identity of the pattern, equal to the file's name without its extension." },
            "version": { "type": "integer", "minimum": 1, "maximum": 65535, "description": "Raised whenever `when` changes." },
            "title": { "type": "string", "minLength": 3, "maxLength": 120, "description": "One line for people." },
            "description": { "type": "string", "maxLength": 2000 },
            "owner": { "$ref": "#/$defs/id", "description": "The team that answers for the pattern." },
            "status": {
                "enum": Status::ALL.map(Status::as_str),
                "description": "draft: never loaded. shadow: matched, every decision withheld. live: matched and acted upon. paused: not matched, runs dropped. retired: as paused, and the id is not used again."
            },
            "when": { "$ref": "#/$defs/when" },
            "then": { "$ref": "#/$defs/then" },
            "guard": { "$ref": "#/$defs/guard" },
            "rollout": { "$ref": "#/$defs/rollout" },
            "tests": { "type": "array", "minItems": 2, "maxItems": TESTS, "items": { "$ref": "#/$defs/test" } }
        },
        "$defs": definitions()
    })
}

fn definitions() -> Value {
    let mut definitions = words();
    for more in [when(), then(), test()] {
        if let (Value::Object(all), Value::Object(more)) = (&mut definitions, more) {
            all.extend(more);
        }
    }
    definitions
}

fn words() -> Value {
    json!({
        "id": { "type": "string", "pattern": "^[a-z][a-z0-9-]{2,62}$" },
        "name": { "type": "string", "pattern": "^[a-z][a-z0-9_]{0,40}$" },
        "field": { "type": "string", "pattern": "^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)*$", "maxLength": 80 },
        "duration": {
            "type": "string", "pattern": "^[1-9][0-9]{0,8}(ms|s|m|h|d)$",
            "description": "A whole number and a unit: 90s, 20m, 48h, 30d."
        },
        "offset": {
            "type": "string", "pattern": "^(0|[1-9][0-9]{0,8})(ms|s|m|h|d)$",
            "description": "Time since the start of the test."
        },
        "type": {
            "type": "string", "pattern": "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$",
            "description": "An event type, e.g. cart.product_added."
        },
        "types": {
            "description": "One event type or a list of them.",
            "anyOf": [{ "$ref": "#/$defs/type" }, { "$ref": "#/$defs/typeList" }]
        },
        "typeList": { "type": "array", "minItems": 1, "maxItems": 16, "uniqueItems": true, "items": { "$ref": "#/$defs/type" } },
        "where": {
            "type": "string", "minLength": 1, "maxLength": 1000,
            "description": "CEL over event, captured names, journey and profile. A field that is missing means no match."
        },
        "text": {
            "type": "object", "minProperties": 1, "additionalProperties": false,
            "patternProperties": { "^[a-z]{2}(-[A-Z]{2})?$": { "type": "string", "minLength": 1, "maxLength": 400 } },
            "description": "Language to template; {{ seen[0].count }}, {{ seen[0].last.price }}, {{ by.reason }}."
        },
        "profileDate": { "type": "string", "pattern": "^profile\\.[a-z][a-z0-9_]*$" }
    })
}

fn when() -> Value {
    json!({
        "see": {
            "type": "object", "additionalProperties": false, "required": ["see"],
            "properties": {
                "see": { "$ref": "#/$defs/types" },
                "where": { "$ref": "#/$defs/where" },
                "times": {
                    "type": "integer", "minimum": 1, "maximum": 100,
                    "description": "Completed by this many matching events; 1 if absent."
                },
                "across": {
                    "type": "object", "additionalProperties": false, "required": ["field", "at_least"],
                    "properties": {
                        "field": { "$ref": "#/$defs/field" },
                        "at_least": { "type": "integer", "minimum": 2, "maximum": 16 }
                    },
                    "description": "The events must carry at least this many distinct values of the field."
                },
                "within": {
                    "$ref": "#/$defs/duration",
                    "description": "Longest time from the completion of the step before to the completion of this one."
                },
                "as": { "$ref": "#/$defs/name", "description": "Name under which later steps read the completing event." }
            }
        },
        "seeInAll": {
            "type": "object", "additionalProperties": false, "required": ["see"],
            "properties": {
                "see": { "$ref": "#/$defs/types" },
                "where": { "$ref": "#/$defs/where" },
                "times": { "$ref": "#/$defs/see/properties/times" },
                "across": { "$ref": "#/$defs/see/properties/across" }
            }
        },
        "absent": {
            "type": "object", "additionalProperties": false, "required": ["absent"],
            "properties": {
                "absent": { "$ref": "#/$defs/types" },
                "where": { "$ref": "#/$defs/where" },
                "for": { "$ref": "#/$defs/duration", "description": "How long it must stay away; required unless a `see` follows." }
            }
        },
        "when": {
            "type": "object", "additionalProperties": false, "required": ["within"],
            "oneOf": [{ "required": ["sequence"] }, { "required": ["all"] }],
            "properties": {
                "by": {
                    "type": "array", "minItems": 1, "maxItems": 3, "uniqueItems": true, "items": { "$ref": "#/$defs/field" },
                    "description": "An independent instance per distinct tuple of these fields."
                },
                "within": {
                    "$ref": "#/$defs/duration",
                    "description": "Longest time from the first event of a match to its completion; at most 30d."
                },
                "sequence": {
                    "type": "array", "minItems": 1, "maxItems": 8,
                    "description": "Steps in this order; other events in between are ignored.",
                    "prefixItems": [{ "$ref": "#/$defs/see" }],
                    "items": { "anyOf": [{ "$ref": "#/$defs/see" }, { "$ref": "#/$defs/absent" }] }
                },
                "all": {
                    "type": "array", "minItems": 1, "maxItems": 8,
                    "description": "All of these, in any order.",
                    "items": { "anyOf": [{ "$ref": "#/$defs/seeInAll" }, { "$ref": "#/$defs/absent" }] },
                    "contains": { "required": ["see"] }
                },
                "until": { "$ref": "#/$defs/typeList", "description": "Event types that discard every unfinished run." },
                "during": {
                    "type": "object", "additionalProperties": false,
                    "description": "A window before or after a date of the profile, in which everything must lie.",
                    "oneOf": [{ "required": ["before", "lead"] }, { "required": ["after", "lag"] }],
                    "properties": {
                        "before": { "$ref": "#/$defs/profileDate" },
                        "lead": { "$ref": "#/$defs/duration" },
                        "after": { "$ref": "#/$defs/profileDate" },
                        "lag": { "$ref": "#/$defs/duration" }
                    }
                }
            }
        }
    })
}

fn then() -> Value {
    json!({
        "then": {
            "type": "object", "additionalProperties": false,
            "required": ["intervene", "channels", "priority", "valid_for", "because"],
            "properties": {
                "intervene": {
                    "$ref": "#/$defs/name",
                    "description": "Kind of intervention: chat_offer, agent_takeover, callback, retention_call, csm_alert, survey, notify, ..."
                },
                "channels": {
                    "type": "array", "minItems": 1, "maxItems": 8, "uniqueItems": true,
                    "items": { "enum": out_channels() }
                },
                "priority": { "type": "integer", "minimum": 0, "maximum": 100, "description": "Higher goes first." },
                "valid_for": { "$ref": "#/$defs/duration" },
                "cancel_on": { "$ref": "#/$defs/typeList", "description": "Event types that take the intervention back." },
                "because": { "$ref": "#/$defs/text" },
                "offer": {
                    "type": "object", "additionalProperties": false, "required": ["kind"],
                    "description": "What may be given; the code itself never stands here.",
                    "properties": {
                        "kind": { "enum": OFFERS },
                        "percent": { "type": "number", "exclusiveMinimum": 0, "maximum": 100 },
                        "amount": { "type": "number", "exclusiveMinimum": 0 },
                        "currency": { "type": "string", "pattern": "^[A-Z]{3}$" },
                        "code_pool": { "$ref": "#/$defs/id" },
                        "valid_for": { "$ref": "#/$defs/duration" },
                        "mandate": {
                            "type": "object", "additionalProperties": false, "required": ["level"],
                            "properties": {
                                "level": { "enum": LEVELS },
                                "max_percent": { "type": "number", "minimum": 0, "maximum": 100 },
                                "max_amount": { "type": "number", "minimum": 0 },
                                "escalate_to": { "$ref": "#/$defs/id" }
                            }
                        }
                    },
                    "not": { "required": ["percent", "amount"] },
                    "dependentRequired": { "amount": ["currency"] }
                },
                "route": {
                    "type": "object", "additionalProperties": false, "required": ["queue"],
                    "properties": {
                        "queue": { "$ref": "#/$defs/id" },
                        "skills": { "type": "array", "uniqueItems": true, "maxItems": 16, "items": { "$ref": "#/$defs/id" } }
                    }
                }
            }
        },
        "guard": {
            "type": "object", "additionalProperties": false, "required": ["consent", "cooldown"],
            "properties": {
                "consent": { "enum": PURPOSES, "description": "Purpose for which consent is checked." },
                "cooldown": { "$ref": "#/$defs/duration", "description": "Per customer and pattern, over all values of `by`." },
                "quiet_hours": {
                    "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$",
                    "description": "In the customer's time zone."
                }
            }
        },
        "rollout": {
            "type": "object", "additionalProperties": false, "required": ["percent", "holdout", "seed"],
            "properties": {
                "percent": { "type": "integer", "minimum": 0, "maximum": 100 },
                "holdout": { "type": "integer", "minimum": 0, "maximum": 50 },
                "seed": { "$ref": "#/$defs/id" }
            }
        }
    })
}

fn test() -> Value {
    json!({
        "test": {
            "type": "object", "additionalProperties": false, "required": ["name", "given", "expect"],
            "properties": {
                "name": { "type": "string", "minLength": 3, "maxLength": 160 },
                "profile": {
                    "type": "object",
                    "description": "The profile before the first event; a date is an offset from the start of the test."
                },
                "journey": { "type": "object", "description": "Journey values before the first event." },
                "given": {
                    "type": "array", "maxItems": GIVEN,
                    "items": {
                        "type": "object", "required": ["at", "is"],
                        "properties": {
                            "at": { "$ref": "#/$defs/offset" },
                            "is": { "$ref": "#/$defs/type" },
                            "id": { "type": "string" },
                            "channel": { "enum": Channel::ALL.iter().map(|channel| channel.as_str()).collect::<Vec<_>>() },
                            "sentiment": { "type": "object" }
                        },
                        "additionalProperties": {
                            "description": "A field of the event: a value, or a list of texts.",
                            "anyOf": [
                                { "type": ["string", "number", "boolean", "null"] },
                                { "type": "array", "items": { "type": ["string", "number", "boolean", "null"] } }
                            ]
                        }
                    }
                },
                "expect": {
                    "type": "array",
                    "items": {
                        "type": "object", "additionalProperties": false, "required": ["at", "intervene"],
                        "properties": {
                            "at": { "$ref": "#/$defs/offset" },
                            "intervene": { "$ref": "#/$defs/name" },
                            "because": { "type": "string", "description": "The sentence in the first language of `then.because`." }
                        }
                    }
                }
            }
        }
    })
}
