package smartgateway.hapi;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** java -Dport=18090 -Dfhir=R4 smartgateway.hapi.Main: says "ready" once GET /fhir/metadata has been answered. */
public class Main {
    public static void main(String[] args) throws Exception {
        long begun = System.nanoTime();
        try {
            Server server = new Server(new QueuedThreadPool(64, 8));
            ServerConnector http = new ServerConnector(server, 1, 1);
            http.setHost("127.0.0.1");
            http.setPort(Integer.getInteger("port", 18090));
            server.addConnector(http);
            http.open(); // a port in use is said at once; who connects from here on waits for the answer

            AnnotationConfigApplicationContext app =
                    new AnnotationConfigApplicationContext(Config.class, Config.versionConfig());
            Runtime.getRuntime().addShutdownHook(new Thread(app::close));

            Admin admin = new Admin(app);
            ServletContextHandler root = new ServletContextHandler("/", false, false);
            root.addFilter(new FilterHolder(admin.gate()), "/fhir/*", null);
            ServletHolder fhir = new ServletHolder(new Fhir(app));
            fhir.setInitOrder(1);
            root.addServlet(fhir, "/fhir/*");
            root.addServlet(new ServletHolder(admin), "/admin/*");
            server.setHandler(root);
            server.setStopAtShutdown(true);
            server.start();

            URI metadata = URI.create("http://127.0.0.1:" + http.getLocalPort() + "/fhir/metadata");
            int status = HttpClient.newHttpClient()
                    .send(HttpRequest.newBuilder(metadata).build(), BodyHandlers.discarding()).statusCode();
            System.out.printf("ready on port %d after %d ms: metadata %d%n",
                    http.getLocalPort(), (System.nanoTime() - begun) / 1_000_000, status);
            server.join();
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1); // HAPI's own threads would keep a half-made server alive
        }
    }
}
