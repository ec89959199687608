// Leads DigitalOcean's own Go client through the life of a droplet and prints what it saw as JSON.
//
// The environment says where the API is (API_URL) and with which token (TOKEN); PUBLIC_KEY is an SSH key to register.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/oauth2"
)

var ctx = context.Background()

func clientOf(token string, options ...godo.ClientOpt) *godo.Client {
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
	options = append(options, godo.SetBaseURL(os.Getenv("API_URL")))
	client, err := godo.New(oauth2.NewClient(ctx, source), options...)
	check(err)
	return client
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, _ *godo.Response, err error) T {
	check(err)
	return value
}

func done(_ *godo.Response, err error) {
	check(err)
}

// refusal is the status and message of a call that must fail.
func refusal(err error) string {
	response, ok := err.(*godo.ErrorResponse)
	if !ok {
		log.Fatalf("not refused by the API: %v", err)
	}
	return fmt.Sprintf("%d %s", response.Response.StatusCode, response.Message)
}

func until(what string, condition func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			log.Fatalf("timed out: %s", what)
		}
	}
}

// finish waits for an action and returns how it ended.
func finish(client *godo.Client, id int) string {
	var action *godo.Action
	until(fmt.Sprintf("action %d", id), func() bool {
		action = must(client.Actions.Get(ctx, id))
		return action.CompletedAt != nil
	})
	return action.Type + " " + action.Status
}

func main() {
	client := clientOf(os.Getenv("TOKEN"))
	seen := map[string]any{}
	seen["account"] = must(client.Account.Get(ctx)).Status

	key := must(client.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "godo", PublicKey: os.Getenv("PUBLIC_KEY")}))
	volume := must(client.Storage.CreateVolume(ctx, &godo.VolumeCreateRequest{
		Region: "fra1", Name: "godo-data", SizeGigaBytes: 10, FilesystemType: "ext4",
	}))
	droplet, response, err := client.Droplets.Create(ctx, &godo.DropletCreateRequest{
		Name: "godo", Region: "fra1", Size: "s-2vcpu-4gb",
		Image:   godo.DropletCreateImage{Slug: "debian-13-x64"},
		SSHKeys: []godo.DropletCreateSSHKey{{Fingerprint: key.Fingerprint}},
		Volumes: []godo.DropletCreateVolume{{ID: volume.ID}},
		Tags:    []string{"godo"},
	})
	check(err)
	seen["rate"] = response.Rate.Limit
	seen["created"] = []string{droplet.Status, finish(client, response.Links.Actions[0].ID)}
	droplet = must(client.Droplets.Get(ctx, droplet.ID))
	address, err := droplet.PublicIPv4()
	check(err)
	seen["droplet"] = map[string]any{
		"status": droplet.Status, "locked": droplet.Locked, "memory": droplet.Memory, "region": droplet.Region.Slug,
		"image": droplet.Image.Slug, "loopback": strings.HasPrefix(address, "127."),
		"volume": len(droplet.VolumeIDs) == 1 && droplet.VolumeIDs[0] == volume.ID,
	}

	_, err = client.Storage.DeleteVolume(ctx, volume.ID)
	seen["delete_attached"] = refusal(err)
	action := must(client.StorageActions.DetachByDropletID(ctx, volume.ID, droplet.ID))
	seen["detached"] = finish(client, action.ID)
	_, _, err = client.StorageActions.DetachByDropletID(ctx, volume.ID, droplet.ID)
	seen["detach_again"] = refusal(err)
	action = must(client.StorageActions.Attach(ctx, volume.ID, droplet.ID))
	seen["attached"] = finish(client, action.ID)
	action = must(client.StorageActions.Resize(ctx, volume.ID, 20, "fra1"))
	finish(client, action.ID)
	seen["volume"] = must(client.Storage.GetVolume(ctx, volume.ID)).SizeGigaBytes

	action = must(client.DropletActions.PowerOff(ctx, droplet.ID))
	finish(client, action.ID)
	action = must(client.DropletActions.Resize(ctx, droplet.ID, "s-4vcpu-8gb", true))
	finish(client, action.ID)
	action = must(client.DropletActions.PowerOn(ctx, droplet.ID))
	finish(client, action.ID)
	droplet = must(client.Droplets.Get(ctx, droplet.ID))
	seen["resized"] = []any{droplet.SizeSlug, droplet.Disk, droplet.Status}

	rule := godo.InboundRule{Protocol: "tcp", PortRange: "all", Sources: &godo.Sources{Addresses: []string{"::/0"}}}
	firewall := must(client.Firewalls.Create(ctx, &godo.FirewallRequest{
		Name: "godo", InboundRules: []godo.InboundRule{rule}, DropletIDs: []int{droplet.ID},
	}))
	done(client.Firewalls.AddTags(ctx, firewall.ID, "godo"))
	done(client.Firewalls.RemoveDroplets(ctx, firewall.ID, droplet.ID))
	until("the firewall to hold", func() bool {
		firewall = must(client.Firewalls.Get(ctx, firewall.ID))
		return firewall.Status == "succeeded"
	})
	seen["firewall"] = []any{firewall.InboundRules[0].PortRange, firewall.DropletIDs, firewall.Tags}
	_, _, err = client.Firewalls.Create(ctx, &godo.FirewallRequest{Name: "godo", InboundRules: []godo.InboundRule{rule}})
	seen["duplicate_firewall"] = refusal(err)
	done(client.Firewalls.Delete(ctx, firewall.ID))

	domain := must(client.Domains.Create(ctx, &godo.DomainCreateRequest{Name: "godo.example", IPAddress: address}))
	record := must(client.Domains.CreateRecord(ctx, domain.Name, &godo.DomainRecordEditRequest{
		Type: "CNAME", Name: "www", Data: "@",
	}))
	must(client.Domains.EditRecord(ctx, domain.Name, record.ID, &godo.DomainRecordEditRequest{
		Name: "app", Data: "host.example.org.", TTL: 60,
	}))
	records := must(client.Domains.RecordsByTypeAndName(ctx, domain.Name, "CNAME", "app."+domain.Name, nil))
	seen["records"] = []any{len(records), records[0].Data, records[0].TTL}
	_, _, err = client.Domains.EditRecord(ctx, domain.Name, record.ID, &godo.DomainRecordEditRequest{TTL: 90})
	seen["host_left_out"] = refusal(err)
	done(client.Domains.Delete(ctx, domain.Name))

	reserved := must(client.ReservedIPs.Create(ctx, &godo.ReservedIPCreateRequest{Region: "fra1"}))
	action = must(client.ReservedIPActions.Assign(ctx, reserved.IP, droplet.ID))
	seen["assigned"] = finish(client, action.ID)
	assigned := must(client.ReservedIPs.Get(ctx, reserved.IP))
	own, err := must(client.Droplets.Get(ctx, droplet.ID)).PublicIPv4()
	check(err)
	seen["reserved"] = []any{assigned.Droplet.ID == droplet.ID, assigned.Locked, own == address}
	action = must(client.ReservedIPActions.Unassign(ctx, reserved.IP))
	seen["unassigned"] = finish(client, action.ID)
	_, _, err = client.ReservedIPActions.Unassign(ctx, reserved.IP)
	seen["unassign_again"] = refusal(err)
	done(client.ReservedIPs.Delete(ctx, reserved.IP))

	tagged := []godo.Resource{{ID: volume.ID, Type: godo.VolumeResourceType}}
	done(client.Tags.TagResources(ctx, "godo", &godo.TagResourcesRequest{Resources: tagged}))
	tag := must(client.Tags.Get(ctx, "godo"))
	seen["tag"] = []int{tag.Resources.Count, tag.Resources.Droplets.Count, tag.Resources.Volumes.Count}
	done(client.Tags.UntagResources(ctx, "godo", &godo.UntagResourcesRequest{Resources: tagged}))
	done(client.Tags.Delete(ctx, "godo"))

	full := []*godo.Grant{{Permission: godo.SpacesKeyFullAccess}}
	spacesKey := must(client.SpacesKeys.Create(ctx, &godo.SpacesKeyCreateRequest{Name: "godo", Grants: full}))
	limited := []*godo.Grant{{Bucket: "files", Permission: godo.SpacesKeyReadWrite}}
	must(client.SpacesKeys.Update(ctx, spacesKey.AccessKey, &godo.SpacesKeyUpdateRequest{Name: "godo", Grants: limited}))
	found := must(client.SpacesKeys.Get(ctx, spacesKey.AccessKey))
	_, _, err = client.SpacesKeys.Create(ctx, &godo.SpacesKeyCreateRequest{Name: "godo", Grants: append(full, limited...)})
	seen["spaces_key"] = []any{len(spacesKey.SecretKey), found.SecretKey, found.Grants[0].Bucket, refusal(err)}
	done(client.SpacesKeys.Delete(ctx, spacesKey.AccessKey))

	database := must(client.Databases.Create(ctx, &godo.DatabaseCreateRequest{
		Name: "godo", EngineSlug: "pg", Version: "17", SizeSlug: "db-s-1vcpu-2gb", Region: "fra1", NumNodes: 1,
	}))
	until("the database to be online", func() bool {
		return must(client.Databases.Get(ctx, database.ID)).Status == "online"
	})
	done(client.Databases.UpdateFirewallRules(ctx, database.ID, &godo.DatabaseUpdateFirewallRulesRequest{
		Rules: []*godo.DatabaseFirewallRule{{Type: "droplet", Value: fmt.Sprint(droplet.ID)}},
	}))
	rules := must(client.Databases.GetFirewallRules(ctx, database.ID))
	authority := must(client.Databases.GetCA(ctx, database.ID))
	user := must(client.Databases.CreateUser(ctx, database.ID, &godo.DatabaseCreateUserRequest{Name: "app"}))
	done(client.Databases.Resize(ctx, database.ID, &godo.DatabaseResizeRequest{SizeSlug: "db-s-1vcpu-2gb", NumNodes: 2}))
	database = must(client.Databases.Get(ctx, database.ID))
	_, err = client.Databases.UpdateFirewallRules(ctx, database.ID, &godo.DatabaseUpdateFirewallRulesRequest{
		Rules: []*godo.DatabaseFirewallRule{{Type: "droplet", Value: "1"}},
	})
	seen["database"] = []any{
		database.NumNodes, database.Connection.Port, len(rules), user.Role, refusal(err),
		strings.HasPrefix(string(authority.Certificate), "-----BEGIN CERTIFICATE-----"),
	}
	done(client.Databases.Delete(ctx, database.ID))

	project := must(client.Projects.Create(ctx, &godo.CreateProjectRequest{Name: "godo", Purpose: "Web Application"}))
	project = must(client.Projects.Update(ctx, project.ID, &godo.UpdateProjectRequest{Environment: "Production"}))
	must(client.Projects.AssignResources(ctx, project.ID, droplet, volume))
	seen["project"] = []any{
		project.Environment, len(must(client.Projects.ListResources(ctx, project.ID, &godo.ListOptions{PerPage: 200}))),
	}

	for _, name := range []string{"a", "b", "c", "d", "e"} {
		must(client.Storage.CreateVolume(ctx, &godo.VolumeCreateRequest{Region: "nyc1", Name: name, SizeGigaBytes: 1}))
	}
	names := []string{}
	for options := (&godo.ListOptions{PerPage: 2}); ; options.Page++ {
		volumes, page, err := client.Storage.ListVolumes(ctx, &godo.ListVolumeParams{Region: "nyc1", ListOptions: options})
		check(err)
		for _, volume := range volumes {
			names = append(names, volume.Name)
			defer func() { done(client.Storage.DeleteVolume(ctx, volume.ID)) }()
		}
		if page.Links.IsLastPage() {
			break
		}
		options.Page, err = page.Links.CurrentPage()
		check(err)
	}
	seen["pages"] = names

	_, _, err = clientOf("dop_v1_wrong").Account.Get(ctx)
	seen["wrong_token"] = refusal(err)
	_, response, _ = client.Droplets.Get(ctx, 1)
	seen["missing"] = response.StatusCode
	_, _, err = client.VPCs.Create(ctx, &godo.VPCCreateRequest{Name: "x", RegionSlug: "fra1"})
	seen["not_simulated"] = err.(*godo.ErrorResponse).Response.StatusCode

	// The next request is told to come back later, and a client that retries does.
	fault := `{"kind":"request","path":"^/v2/account$","status":429,"retry_after":1}`
	request, err := http.NewRequest(http.MethodPost, os.Getenv("API_URL")+"/_control/faults", strings.NewReader(fault))
	check(err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	check(err)
	check(answer.Body.Close())
	wait := 0.05
	retrying := clientOf(os.Getenv("TOKEN"), godo.WithRetryAndBackoffs(godo.RetryConfig{
		RetryMax: 2, RetryWaitMin: &wait, RetryWaitMax: &wait,
	}))
	seen["retried"] = must(retrying.Account.Get(ctx)).Status

	done(client.Droplets.Delete(ctx, droplet.ID))
	until("the droplet's end", func() bool {
		_, response, _ := client.Droplets.Get(ctx, droplet.ID)
		return response.StatusCode == http.StatusNotFound
	})
	done(client.Storage.DeleteVolume(ctx, volume.ID))
	done(client.Projects.Delete(ctx, project.ID))
	done(client.Keys.DeleteByID(ctx, key.ID))
	check(json.NewEncoder(os.Stdout).Encode(seen))
}
