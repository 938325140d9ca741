# Start here: each target works on a fresh machine by itself. The programs behind the targets are in scripts/.
.DEFAULT_GOAL := help
.PHONY: help demo demo-federation test test-unit test-all bench lint format cluster image images site setup clean

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
export PATH := $(CURDIR)/node_modules/node-linux-$(ARCH)/bin:$(CURDIR)/node_modules/.bin:$(PATH)
SOURCES := $(shell find signer spiffe client workload dev tools bin scripts/image scripts/image.ts -type f 2>/dev/null)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup machine kubernetes-1.37.1 coredns judges dist/kubespiffe-image.tar ## pods on a real Kubernetes show certificates, a JWT-SVID, DNS names, gRPC over a rotation, a new name
	@node scripts/demo.ts

demo-federation: setup machine kubernetes-1.37.1 coredns judges dist/kubespiffe-image.tar ## two clusters trust each other: calls, JWT-SVIDs, a new CA under calls, the end of the trust
	@node scripts/demo-federation.ts

test: setup machine programs servers browser key-backends kubernetes-1.37.1 coredns judges helm collector dist/kubespiffe-image.tar ## all tests, on a real Kubernetes 1.37
	@node scripts/test.ts unit
	@node scripts/test.ts cluster

test-unit: setup programs browser key-backends judges ## the fast tests: no cluster
	@node scripts/test.ts unit

test-all: test kubernetes-1.36.3 kubernetes-1.35.4 ## the same, and end-to-end on 1.37 with v1beta1, 1.36, 1.35, and a 1.35 kubelet behind 1.37
	@node scripts/test.ts variants

bench: setup key-backends kubernetes-1.37.1 ## speed and memory beside the API server's own ceiling
	@node test/bench/bench.ts

lint: setup ## format, lint and types
	@biome check .
	@tsc --noEmit
	@tsc --noEmit -p tools/ui/page

format: setup ## put the format right
	@biome check --write .

cluster: setup machine dist/kubespiffe-image.tar ## leave a real cluster running, print its KUBECONFIG and how to install in it
	@node scripts/cluster.ts start

image: dist/kubespiffe-image.tar ## build the container image as an OCI archive

images: setup ## build the container image for amd64 and arm64, as one OCI archive
	@node --disable-warning=ExperimentalWarning scripts/image.ts --architecture amd64 --architecture arm64 --output dist/kubespiffe-images.tar

site: setup ## build the documentation as a site, with a search, that a browser reads from the disk
	@scripts/debian-packages.sh python3 python3-venv
	@node scripts/site.ts

setup: node_modules/.stamp ## install the npm packages, Node 24 among them

clean: ## stop the cluster of `make cluster`, remove what was built here
	@if [ -f .cache/cluster/pid ] && [ -f node_modules/.stamp ]; then node scripts/cluster.ts stop; fi
	@rm -rf dist .cache

node_modules/.stamp: package-lock.json package.json
	@scripts/npm-packages.sh

dist/kubespiffe-image.tar: node_modules/.stamp $(SOURCES)
	@node --disable-warning=ExperimentalWarning scripts/image.ts

.PHONY: machine programs servers browser key-backends coredns judges helm collector kubernetes-1.37.1 kubernetes-1.36.3 kubernetes-1.35.4
machine:
	@scripts/debian-packages.sh

# The shells that complete our command, Java, which reads keystores, Python, for clients of the Workload API, an
# emulator for the image of another architecture, Prometheus, for alerts and dashboard, and libfaketime, which sets clocks.
programs:
	@scripts/debian-packages.sh zsh fish openssl default-jre-headless python3 python3-venv qemu-user prometheus libfaketime yq

servers:
	@scripts/debian-packages.sh nginx libnginx-mod-http-js haproxy redis-server redis-tools postgresql docker-registry skopeo

# Shows the web view and the documentation in the tests.
browser:
	@scripts/debian-packages.sh chromium-headless-shell

# Keys outside of the pool: SoftHSM2, pkcs11-tool of OpenSC, the binding for it, and the libraries of the clouds.
key-backends: setup
	@scripts/debian-packages.sh softhsm2 opensc
	@scripts/key-backends.sh

coredns: setup
	@node scripts/coredns.ts

judges: setup
	@node scripts/judges.ts

helm: setup ## build the Helm with which the pages are tested, and print where it is
	@node scripts/helm.ts

collector: setup
	@node scripts/collector.ts

# A static pattern: make looks for no implicit rule for what is phony.
kubernetes-1.37.1 kubernetes-1.36.3 kubernetes-1.35.4: kubernetes-%: setup
	@node scripts/kubernetes.ts $*
