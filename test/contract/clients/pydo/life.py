"""Leads DigitalOcean's own Python client through the life of a droplet and prints what it saw as JSON.

The environment says where the API is (API_URL) and with which token (TOKEN); PUBLIC_KEY is an SSH key to register.
"""

import json
import os
import time

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from pydo import Client


class PlainHttp(SansIOHTTPPolicy):
    """Lets the token travel over plain HTTP, which the client refuses by default; the API is on this computer."""

    def on_request(self, request):
        request.context.options["enforce_https"] = False


def client_of(token):
    return Client(token=token, endpoint=os.environ["API_URL"], per_call_policies=[PlainHttp()], retry_total=0)


client = client_of(os.environ["TOKEN"])


def until(what, condition):
    deadline = time.monotonic() + 30
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)
    return value


def finish(answer):
    """Waits for the action that a call began and returns it as it ended."""
    action_id = answer["action"]["id"]

    def ended():
        action = client.actions.get(action_id)["action"]
        return action if action["completed_at"] else None

    return until(f"action {action_id}", ended)


def error_of(call):
    """What a refused call says; some answers the client raises as an error, others it returns."""
    try:
        answer = call()
        return {"returned": answer["id"], "message": answer["message"]}
    except HttpResponseError as error:
        return {"status": error.status_code, "message": json.loads(error.response.text())["message"]}


def pages(call, key):
    """All items of a list, following the links to the next page."""
    items, page = [], 1
    while True:
        answer = call(per_page=2, page=page)
        items += answer[key]
        if "next" not in answer["links"].get("pages", {}):
            return items, answer["meta"]["total"]
        page += 1


seen = {}
seen["account"] = client.account.get()["account"]["status"]
seen["size"] = [size for size in client.sizes.list(per_page=200)["sizes"] if size["slug"] == "s-2vcpu-4gb"][0]["memory"]
seen["region"] = [region["name"] for region in client.regions.list()["regions"] if region["slug"] == "fra1"]
seen["image"] = client.images.get("debian-13-x64")["image"]["distribution"]

key = client.ssh_keys.create({"name": "pydo", "public_key": os.environ["PUBLIC_KEY"]})["ssh_key"]
volume = client.volumes.create(
    {"name": "pydo-data", "region": "fra1", "size_gigabytes": 10, "filesystem_type": "ext4"}
)["volume"]
created = client.droplets.create(
    {
        "name": "pydo",
        "region": "fra1",
        "size": "s-2vcpu-4gb",
        "image": "debian-13-x64",
        "ssh_keys": [key["id"]],
        "tags": ["pydo"],
        "user_data": "#cloud-config\n",
    }
)
droplet_id = created["droplet"]["id"]
finish({"action": created["links"]["actions"][0]})
droplet = client.droplets.get(droplet_id)["droplet"]
seen["droplet"] = {name: droplet[name] for name in ("name", "status", "locked", "size_slug", "tags")}

attached = finish(client.volume_actions.post_by_id(volume["id"], {"type": "attach", "droplet_id": droplet_id}))
seen["attached"] = {
    "action": [attached["status"], attached["type"]],
    "on": client.volumes.get(volume["id"])["volume"]["droplet_ids"] == [droplet_id],
}
seen["delete_attached"] = error_of(lambda: client.volumes.delete(volume["id"]))
finish(client.volume_actions.post_by_id(volume["id"], {"type": "resize", "size_gigabytes": 20, "region": "fra1"}))
seen["resized"] = client.volumes.get(volume["id"])["volume"]["size_gigabytes"]
detach = {"type": "detach", "volume_name": "pydo-data", "region": "fra1", "droplet_id": droplet_id}
seen["detached"] = finish(client.volume_actions.post(detach))["type"]

finish(client.droplet_actions.post(droplet_id, {"type": "power_off"}))
seen["off"] = client.droplets.get(droplet_id)["droplet"]["status"]
seen["off_again"] = error_of(lambda: client.droplet_actions.post(droplet_id, {"type": "power_off"}))

firewall = client.firewalls.create(
    {
        "name": "pydo",
        "inbound_rules": [{"protocol": "tcp", "ports": "22", "sources": {"addresses": ["0.0.0.0/0"]}}],
        "droplet_ids": [droplet_id],
    }
)["firewall"]
client.firewalls.add_rules(
    firewall["id"],
    {"inbound_rules": [{"protocol": "udp", "ports": "all", "sources": {"tags": ["pydo"]}}]},
)
seen["firewall_ports"] = [rule["ports"] for rule in client.firewalls.get(firewall["id"])["firewall"]["inbound_rules"]]
client.firewalls.delete(firewall["id"])

domain = client.domains.create({"name": "pydo.example", "ip_address": "192.0.2.1"})["domain"]["name"]
record = client.domains.create_record(domain, {"type": "CNAME", "name": "www", "data": "@"})["domain_record"]
client.domains.update_record(domain, record["id"], {"type": "CNAME", "data": "host.example.org.", "ttl": 60})
records = client.domains.list_records(domain, name=f"www.{domain}", type="CNAME")["domain_records"]
seen["records"] = [[record["data"], record["ttl"]] for record in records]
client.domains.delete_record(domain, record["id"])
client.domains.delete(domain)

reserved = client.reserved_ips.create({"region": "fra1"})["reserved_ip"]["ip"]
assign = {"type": "assign", "droplet_id": droplet_id}
seen["reserved"] = {
    "action": finish(client.reserved_ips_actions.post(reserved, assign))["type"],
    "droplet": client.reserved_ips.get(reserved)["reserved_ip"]["droplet"]["id"] == droplet_id,
}
client.reserved_ips.delete(reserved)

full = [{"bucket": "", "permission": "fullaccess"}]
spaces_key = client.spaces_key.create({"name": "pydo", "grants": full})["key"]
access_key = spaces_key["access_key"]
client.spaces_key.update(access_key, {"name": "renamed", "grants": []})
listed = client.spaces_key.list(name="renamed")["keys"]
seen["spaces_key"] = [len(spaces_key["secret_key"]), [found["access_key"] == access_key for found in listed]]
client.spaces_key.delete(access_key)

database_id = client.databases.create_cluster(
    {"name": "pydo", "engine": "pg", "version": "17", "size": "db-s-1vcpu-1gb", "region": "fra1", "num_nodes": 1}
)["database"]["id"]
until("the database", lambda: client.databases.get_cluster(database_id)["database"]["status"] == "online")
client.databases.update_firewall_rules(database_id, {"rules": [{"type": "droplet", "value": str(droplet_id)}]})
seen["database"] = [
    [rule["type"] for rule in client.databases.list_firewall_rules(database_id)["rules"]],
    client.databases.add(database_id, {"name": "app"})["db"]["name"],
    error_of(lambda: client.databases.update_cluster_size(database_id, {"size": "db-s-1vcpu-1gb", "num_nodes": 2})),
]
client.databases.destroy_cluster(database_id)

project = client.projects.create({"name": "pydo", "purpose": "Web Application"})["project"]
assigned = client.projects.assign_resources(project["id"], {"resources": [f"do:droplet:{droplet_id}"]})
seen["assigned"] = assigned["resources"][0]["status"]
seen["project_with_resources"] = error_of(lambda: client.projects.delete(project["id"]))

seen["tagged"] = client.tags.get("pydo")["tag"]["resources"]["droplets"]["count"]
for name in ("a", "b", "c", "d"):
    client.tags.create({"name": f"pydo-{name}"})
tags, total = pages(client.tags.list, "tags")
seen["tags"] = [len(tags) == total, [tag["name"] for tag in tags if tag["name"].startswith("pydo-")]]

seen["errors"] = {
    "token": error_of(lambda: client_of("dop_v1_wrong").account.get()),
    "missing": error_of(lambda: client.droplets.get(1)),
    "region": error_of(
        lambda: client.droplets.create({"name": "x", "region": "x", "size": "s-1vcpu-1gb", "image": "debian-13-x64"})
    ),
    "key": error_of(lambda: client.ssh_keys.create({"name": "again", "public_key": os.environ["PUBLIC_KEY"]})),
}

client.droplets.destroy(droplet_id)
until("the droplet's end", lambda: client.droplets.get(droplet_id).get("id") == "not_found")
client.projects.delete(project["id"])
client.volumes.delete(volume["id"])
client.ssh_keys.delete(key["fingerprint"])
for tag in tags:
    client.tags.delete(tag["name"])
seen["left"] = {
    "droplets": client.droplets.list()["meta"]["total"],
    "volumes": client.volumes.list()["meta"]["total"],
    "keys": client.ssh_keys.list()["meta"]["total"],
    "tags": client.tags.list()["meta"]["total"],
}
print(json.dumps(seen))
