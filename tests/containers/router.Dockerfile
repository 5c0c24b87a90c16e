# The router that was built on this machine, for the container suite: its debug build has the failpoints that a release has not.
ARG BASE
FROM ${BASE}
COPY pgweave /usr/local/bin/pgweave
EXPOSE 6432
ENTRYPOINT []
