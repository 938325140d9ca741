# The image of `make image`, for those who have Docker: docker build -t kubespiffe.io/kubespiffe:dev .
# The same script lays out the files, so both hold the same.
# node:24-bookworm-slim with Node 24.18.0. It builds, and gives the C and C++ libraries; Node comes from package-lock.json.
FROM node:24-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN node scripts/image.ts --rootfs /rootfs

FROM scratch
COPY --from=build /rootfs/ /
USER 65532:65532
ENV PATH=/usr/local/bin
WORKDIR /
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=8", "--heap-growing-percent=100", "/app/tools/main.js"]
CMD ["--help"]
