# The image of `make image`, for those who have Docker: docker build -t kubespiffe.io/kubespiffe:dev .
# The same script lays out the files, so both hold the same.
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev
COPY . .
RUN node scripts/image.ts --rootfs /rootfs

FROM scratch
COPY --from=build /rootfs/ /
USER 65532:65532
ENV PATH=/usr/local/bin
WORKDIR /
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=8", "--heap-growing-percent=100", "/app/tools/main.js"]
CMD ["--help"]
