package smartgateway.hapi;

import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.subscription.match.registry.SubscriptionRegistry;
import ca.uhn.fhir.jpa.util.MemoryCacheService;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import jakarta.servlet.Filter;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import javax.sql.DataSource;
import org.springframework.context.ApplicationContext;

/**
 * POST /admin/reset empties the server: every row but the two tables of names that HAPI keeps in memory.
 */
public class Admin extends HttpServlet {

    /** Lookup tables: a name and its number, filled once and cached; they hold nothing of a test's. */
    private static final Set<String> KEEP = Set.of("HFJ_RESOURCE_TYPE", "HFJ_SPIDX_IDENTITY");

    private final transient ApplicationContext app;
    private final transient ReentrantReadWriteLock gate = new ReentrantReadWriteLock(true);

    Admin(ApplicationContext app) {
        this.app = app;
    }

    /** A reset waits for the requests in flight, and requests wait for it. */
    Filter gate() {
        return (request, response, chain) -> {
            gate.readLock().lock();
            try {
                chain.doFilter(request, response);
            } finally {
                gate.readLock().unlock();
            }
        };
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        if (!"/reset".equals(request.getPathInfo())) {
            response.sendError(404);
            return;
        }
        long begun = System.nanoTime();
        gate.writeLock().lock();
        try {
            reset();
        } catch (SQLException e) {
            response.sendError(500, e.toString());
            return;
        } finally {
            gate.writeLock().unlock();
        }
        response.setContentType("application/json");
        response.getWriter().printf("{\"ms\": %.1f}%n", (System.nanoTime() - begun) / 1e6);
    }

    private void reset() throws SQLException {
        Set<String> types = new HashSet<>();
        try (Connection db = app.getBean(DataSource.class).getConnection();
                Statement sql = db.createStatement()) {
            db.setAutoCommit(true);
            try (ResultSet rows = sql.executeQuery("SELECT DISTINCT RES_TYPE FROM HFJ_RESOURCE")) {
                while (rows.next()) types.add(rows.getString(1));
            }
            List<String> tables = new ArrayList<>();
            try (ResultSet rows = sql.executeQuery("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES"
                    + " WHERE TABLE_SCHEMA = 'PUBLIC' AND TABLE_TYPE = 'BASE TABLE'")) {
                while (rows.next()) if (!KEEP.contains(rows.getString(1))) tables.add(rows.getString(1));
            }
            sql.execute("SET REFERENTIAL_INTEGRITY FALSE");
            try {
                for (String table : tables) sql.execute("TRUNCATE TABLE " + table);
            } finally {
                sql.execute("SET REFERENTIAL_INTEGRITY TRUE");
            }
        }
        app.getBean(MemoryCacheService.class).invalidateAllCaches();
        if (types.contains("Subscription")) {
            app.getBean(SubscriptionRegistry.class).unregisterAllSubscriptions();
        }
        if (types.contains("SearchParameter")) {
            app.getBean(ISearchParamRegistry.class).forceRefresh();
        }
        if (types.stream().anyMatch(Set.of("StructureDefinition", "ValueSet", "CodeSystem", "ConceptMap")::contains)) {
            app.getBean(IValidationSupport.class).invalidateCaches();
        }
    }
}
