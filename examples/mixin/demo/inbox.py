"""Stands for a pager: prints what Alertmanager sends, on standard output, and answers 200."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Inbox(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in message["alerts"]:
            labels, said = alert["labels"], alert["annotations"]
            if self.path != "/heartbeat":
                print(self.path, alert["status"], labels["alertname"], labels.get("model", ""), said.get("summary", ""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Inbox).serve_forever()
