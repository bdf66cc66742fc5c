# Flink 1.19 with Beam's runner, for deploy/flink.yaml.
#
#   docker build --file deploy/flink.Dockerfile --tag REGISTRY/throughline-flink:1 .
#
# It has the jars of `throughline cluster flink`, and so of `make test-clusters`, each with
# its locked SHA-256. Flink's own image has a Flink of another version, twice.

ARG BUILD=maven:3.9-eclipse-temurin-17
ARG BASE=eclipse-temurin:17-jre

FROM $BUILD AS jars
COPY pipeline/clusters/flink.xml pipeline/clusters/flink.sha256 \
     pipeline/clusters/QuietLoader.java /build/
WORKDIR /build
RUN mvn --batch-mode --quiet --strict-checksums --file=flink.xml \
        -Dmaven.repo.local=/repository -DincludeScope=runtime \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:resolve \
    && sed 's/ /  /' flink.sha256 >sums.txt \
    && (cd /repository && sha256sum --check --quiet /build/sums.txt) \
    && mkdir -p /opt/flink/lib classes \
    && cut -d' ' -f2 flink.sha256 | (cd /repository && xargs cp -t /opt/flink/lib) \
    && javac -d classes QuietLoader.java \
    && jar --create --file=/opt/flink/loader.jar -C classes QuietLoader.class
# Some classes are in two jars, so that the order counts: `java -cp 'lib/*'` has none.
RUN path=$(cut -d' ' -f2 flink.sha256 | sed 's|.*/|/opt/flink/lib/|' | paste -sd:) \
    && echo "-cp $path" >/opt/flink/cluster.args \
    && echo "-Djava.system.class.loader=QuietLoader -Dthroughline.jars=$path \
        -cp /opt/flink/loader.jar" >/opt/flink/job-server.args

FROM $BASE
COPY --from=jars /opt/flink /opt/flink
# Java 17 closes what Flink, of Java 8's time, looks into.
ENV FLINK_CONF_DIR=/etc/flink JDK_JAVA_OPTIONS="\
--add-exports=java.base/sun.net.util=ALL-UNNAMED \
--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED \
--add-opens=java.base/java.lang=ALL-UNNAMED \
--add-opens=java.base/java.lang.reflect=ALL-UNNAMED \
--add-opens=java.base/java.net=ALL-UNNAMED \
--add-opens=java.base/java.io=ALL-UNNAMED \
--add-opens=java.base/java.nio=ALL-UNNAMED \
--add-opens=java.base/java.text=ALL-UNNAMED \
--add-opens=java.base/java.time=ALL-UNNAMED \
--add-opens=java.base/java.util=ALL-UNNAMED \
--add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED \
--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED \
--add-opens=java.base/sun.nio.ch=ALL-UNNAMED \
-Dorg.slf4j.simpleLogger.showDateTime=true"
USER 10001:10001
