"""A chat service that acts on Waymark's interventions. See ../README.md for what it honours."""

import argparse
import io
import json
import signal
import sys
import time
from collections import OrderedDict
from datetime import datetime, timezone
from pathlib import Path

import fastavro
from confluent_kafka import Consumer, KafkaError, Producer

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schemas" / "intervention.avsc"
# Avro single-object encoding: two marker bytes, then the schema's fingerprint.
HEAD = 10
KNOWN_EFFECTS = {"assist", "offer"}
REMEMBERED = 10_000


class Chat:
    """The chat platform: what it was once asked to show it never shows again, whoever asks."""

    def __init__(self, path):
        self.path = Path(path)
        self.shown = set(self.path.read_text().split()) if self.path.exists() else set()

    def show(self, idempotency_key, sentence):
        if idempotency_key in self.shown:
            return
        with self.path.open("a") as file:
            file.write(idempotency_key + "\n")
        self.shown.add(idempotency_key)
        print(f"shown: {sentence}", flush=True)

    def withdraw(self, idempotency_key):
        print(f"withdrawn: {idempotency_key}", flush=True)


class Service:
    def __init__(self, chat, report, answer_after):
        self.chat = chat
        self.report = report
        self.answer_after = answer_after
        self.seen = OrderedDict()
        # Shown and not yet answered: intervention id -> (intervention, when the customer says yes).
        self.open = {}

    def take(self, intervention, ce_id, now):
        if ce_id in self.seen:
            return
        self.seen[ce_id] = True
        if len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)
        if intervention["action"] == "cancel":
            if self.open.pop(intervention["id"], None):
                self.chat.withdraw(intervention["idempotency_key"])
                self.report(intervention, "cancelled", now, was_shown=True)
            return
        if intervention["action"] != "start" or intervention["effect"] not in KNOWN_EFFECTS:
            self.report(intervention, "failed", now, code="not_understood", retryable=False)
            return
        if intervention["expires_at"] <= now or (intervention["not_before"] or now) > now:
            return
        because = intervention["because"]
        sentence = because.get(intervention["lang"] or "en") or next(iter(because.values()), "")
        self.chat.show(intervention["idempotency_key"], sentence)
        self.report(intervention, "shown", now, surface="chat")
        self.open[intervention["id"]] = (intervention, time.monotonic() + self.answer_after)

    def answers(self, now):
        for key in [key for key, (_, due) in self.open.items() if due <= time.monotonic()]:
            intervention, _ = self.open.pop(key)
            if intervention["expires_at"] > now:
                self.report(intervention, "accepted", now)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True, help="host:port, comma-separated")
    parser.add_argument("--shown", required=True, help="file in which the chat platform keeps what it has shown")
    parser.add_argument("--group", default="chat-python", help="consumer group")
    parser.add_argument("--answer-after", type=float, default=2.0, help="seconds until the customer says yes")
    options = parser.parse_args()
    schema = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text()))
    consumer = Consumer({
        "bootstrap.servers": options.brokers,
        "group.id": options.group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    })
    producer = Producer({"bootstrap.servers": options.brokers, "enable.idempotence": True})
    failed = []

    def report(intervention, what, now, **attributes):
        event = {
            # The same report has the same id: sent again, it counts once.
            "id": f"{intervention['id']}/{what}",
            "source": f"examples/{options.group}",
            "type": f"intervention.{what}",
            "time": now.isoformat().replace("+00:00", "Z"),
            "channel": "chat",
            "identifiers": [{"kind": "key", "value": intervention["customer"]}],
            "attributes": {"intervention_id": str(intervention["id"]), "channel": "chat", **attributes},
        }
        producer.produce(
            "journey.events.business", json.dumps(event), on_delivery=lambda error, _: error and failed.append(error)
        )

    service = Service(Chat(options.shown), report, options.answer_after)
    running = [True]
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: running.clear())
    consumer.subscribe(["journey.interventions.chat"])
    print("ready", flush=True)
    while running:
        message = consumer.poll(0.2)
        now = datetime.now(timezone.utc)
        if message is not None and message.error() is None:
            # A record without a value says nothing (docs/AUDIT.md, Transactions).
            if message.value() is not None:
                headers = dict(message.headers() or [])
                intervention = fastavro.schemaless_reader(io.BytesIO(message.value()[HEAD:]), schema, schema)
                service.take(intervention, headers.get("ce_id"), now)
        elif message is not None and message.error().code() != KafkaError._PARTITION_EOF:
            print(f"warning: {message.error()}", file=sys.stderr)
        service.answers(now)
        producer.flush(10)
        if failed:
            sys.exit(f"error: a report was not taken: {failed[0]}")
        if message is not None and message.error() is None:
            consumer.commit(message=message, asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
