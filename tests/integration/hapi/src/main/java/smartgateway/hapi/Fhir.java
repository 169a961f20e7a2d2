package smartgateway.hapi;

import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.batch2.jobs.expunge.DeleteExpungeProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.interceptor.api.Hook;
import ca.uhn.fhir.interceptor.api.IInterceptorService;
import ca.uhn.fhir.interceptor.api.Interceptor;
import ca.uhn.fhir.interceptor.api.Pointcut;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.graphql.GraphQLProvider;
import ca.uhn.fhir.jpa.interceptor.CascadingDeleteInterceptor;
import ca.uhn.fhir.jpa.interceptor.UserRequestRetryVersionConflictsInterceptor;
import ca.uhn.fhir.jpa.provider.DiffProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.JpaSystemProvider;
import ca.uhn.fhir.jpa.provider.TerminologyUploaderProvider;
import ca.uhn.fhir.jpa.provider.ValueSetOperationProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.RestSearchParameterTypeEnum;
import ca.uhn.fhir.rest.api.server.RequestDetails;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.SearchPreferHandlingInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;
import org.springframework.context.ApplicationContext;

/** The FHIR servlet: HAPI's JPA providers, unchanged. */
public class Fhir extends RestfulServer {

    private final transient ApplicationContext app;

    Fhir(ApplicationContext app) {
        super(app.getBean(FhirContext.class));
        this.app = app;
    }

    @Override
    protected void initialize() {
        setServerName("HAPI FHIR JPA test server");
        setDefaultResponseEncoding(EncodingEnum.JSON);
        setDefaultPrettyPrint(false);
        setInterceptorService(app.getBean(IInterceptorService.class));

        registerProviders(app.getBean(ResourceProviderFactory.class).createProviders());
        registerProvider(app.getBean(JpaSystemProvider.class));
        registerProvider(app.getBean(BulkDataExportProvider.class));
        registerProvider(app.getBean(DeleteExpungeProvider.class));
        registerProvider(app.getBean(DiffProvider.class));
        registerProvider(app.getBean(GraphQLProvider.class));
        registerProvider(app.getBean(TerminologyUploaderProvider.class));
        registerProvider(app.getBean(ValueSetOperationProvider.class));

        JpaCapabilityStatementProvider capabilities = new JpaCapabilityStatementProvider(
                this,
                app.getBean(IFhirSystemDao.class),
                app.getBean(JpaStorageSettings.class),
                app.getBean(ISearchParamRegistry.class),
                app.getBean(IValidationSupport.class));
        capabilities.setImplementationDescription("HAPI FHIR JPA test server");
        setServerConformanceProvider(capabilities);

        DatabaseBackedPagingProvider paging = app.getBean(DatabaseBackedPagingProvider.class);
        paging.setDefaultPageSize(20);
        paging.setMaximumPageSize(1000);
        setPagingProvider(paging);

        registerInterceptor(new SearchPreferHandlingInterceptor(app.getBean(ISearchParamRegistry.class)));
        registerInterceptor(new UserRequestRetryVersionConflictsInterceptor());
        if (Boolean.getBoolean("compartments")) {
            registerInterceptor(new Compartments());
        }
        registerInterceptor(app.getBean(CascadingDeleteInterceptor.class)); // X-Cascade is a header of power: it must never arrive
    }

    /**
     * HAPI's JPA server answers GET Patient/x/Observation with 400 "not supported". This turns it into
     * GET Observation?_filter=subject eq "Patient/x" or ..., by the parameters that HAPI's own model says
     * make a resource a member of that compartment. On with -Dcompartments=true.
     */
    @Interceptor
    public static class Compartments {
        @Hook(Pointcut.SERVER_INCOMING_REQUEST_PRE_HANDLER_SELECTED)
        public void rewrite(RequestDetails request) {
            String member = request.getCompartmentName();
            if (member == null || request.getId() == null
                    || !request.getFhirContext().getResourceTypes().contains(member)) {
                return;
            }
            String owner = request.getResourceName() + "/" + request.getId().getIdPart();
            String filter = request.getFhirContext().getResourceDefinition(member)
                    .getSearchParamsForCompartmentName(request.getResourceName()).stream()
                    .filter(p -> p.getParamType() == RestSearchParameterTypeEnum.REFERENCE)
                    .map(p -> p.getName() + " eq \"" + owner + "\"")
                    .collect(Collectors.joining(" or "));
            if (filter.isEmpty()) return;
            Map<String, String[]> parameters = new LinkedHashMap<>(request.getParameters());
            parameters.merge("_filter", new String[] {filter}, (a, b) -> new String[] {a[0], b[0]});
            request.setParameters(parameters);
            request.setResourceName(member);
            request.setId(null);
            request.setCompartmentName(null);
        }
    }
}
