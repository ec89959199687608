# The routes of a Convex backend that set and list environment variables and run a query, for the tests of the scripts. The variables are
# in /srv/variables.json. At each request, the command lines of all processes are added to /srv/processes.
import json
import pathlib
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

STATE = pathlib.Path("/srv/variables.json")


class Backend(BaseHTTPRequestHandler):
    def answer(self, status, body):
        text = "" if body is None else json.dumps(body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def admit(self):
        with open("/srv/processes", "a") as seen:
            for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                seen.write(line.read_text().replace("\0", " ") + "\n")
        if self.headers["Authorization"] == "Convex convex-self-hosted|01ab":
            return True
        self.answer(401, {"code": "BadAdminKey", "message": "The provided admin key was invalid for this instance"})

    def do_GET(self):
        if self.admit():
            self.answer(200, {"environmentVariables": json.loads(STATE.read_text())})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.admit():
            return
        if self.path == "/api/query":
            if body == {"path": "health:ping", "args": {}, "format": "json"}:
                return self.answer(200, {"status": "success", "value": "pong"})
            error = f"[Request ID: 1] Server Error\nUncaught Error: {body['path']} is broken"
            return self.answer(200, {"status": "error", "errorMessage": error})
        variables = json.loads(STATE.read_text())
        for change in body["changes"]:
            if change["name"] == "FORBIDDEN":
                return self.answer(400, {"code": "EnvVarNameForbidden", "message": "FORBIDDEN is built-in"})
            variables.pop(change["name"], None)
            if change["value"] is not None:
                variables[change["name"]] = change["value"]
        STATE.write_text(json.dumps(variables))
        # For a client that is to be killed before it learns of the change.
        while pathlib.Path("/srv/silent").exists():
            time.sleep(0.01)
        self.answer(200, None)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", 3210), Backend).serve_forever()
