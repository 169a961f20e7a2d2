package smartgateway.hapi;

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.maintenance.JobMaintenanceServiceImpl;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.MemoryBinaryStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.r4b.JpaR4BConfig;
import ca.uhn.fhir.jpa.config.r5.JpaR5Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.model.entity.StorageSettings;
import ca.uhn.fhir.jpa.searchparam.config.NicknameServiceConfig;
import ca.uhn.fhir.jpa.searchparam.submit.config.SearchParamSubmitterConfig;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.match.config.SubscriptionProcessorConfig;
import ca.uhn.fhir.jpa.subscription.match.deliver.email.IEmailSender;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import jakarta.persistence.EntityManagerFactory;
import java.util.List;
import java.util.Properties;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.springframework.beans.factory.config.BeanPostProcessor;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/** What every FHIR version shares. The version's own JPA config is registered by Main. */
@Configuration
@Import({
    HapiJpaConfig.class,
    JpaBatch2Config.class,
    Batch2JobsConfig.class,
    ThreadPoolFactoryConfig.class,
    NicknameServiceConfig.class,
    SearchParamSubmitterConfig.class,
    SubscriptionChannelConfig.class,
    SubscriptionSubmitterConfig.class,
    SubscriptionProcessorConfig.class,
})
public class Config {

    static final String FHIR = System.getProperty("fhir", "R4").toUpperCase();

    static Class<?> versionConfig() {
        return switch (FHIR) {
            case "R4" -> JpaR4Config.class;
            case "R4B" -> JpaR4BConfig.class;
            case "R5" -> JpaR5Config.class;
            default -> throw new IllegalArgumentException("fhir: R4, R4B or R5, not " + FHIR);
        };
    }

    @Bean
    public JpaStorageSettings storageSettings() {
        JpaStorageSettings s = new JpaStorageSettings();
        s.setEnforceReferentialIntegrityOnWrite(false); // fixtures refer to resources that are not there
        s.setEnforceReferentialIntegrityOnDelete(false);
        s.setAllowExternalReferences(true);
        // A search must see the write before it: HAPI's default reuses results for a minute.
        s.setReuseCachedSearchResultsForMillis(null);
        s.setHistoryCountMode(ca.uhn.fhir.jpa.api.model.HistoryCountModeEnum.COUNT_ACCURATE);
        s.setAllowMultipleDelete(true);
        s.setExpungeEnabled(true);
        s.setDeleteExpungeEnabled(true);
        s.setIndexMissingFields(StorageSettings.IndexEnabledEnum.ENABLED);
        s.setAllowContainsSearches(true);
        s.setIndexIdentifierOfType(true);
        s.setFilterParameterEnabled(true);
        s.setHibernateSearchIndexSearchParams(false);
        s.setHibernateSearchIndexFullText(false);
        // Bulk export.
        s.setEnableTaskBulkExportJobExecution(true);
        s.setJobFastTrackingEnabled(true);
        s.setPreExpandValueSets(false);
        s.setStatusBasedReindexingDisabled(true);
        return s;
    }

    @Bean
    public PartitionSettings partitionSettings() {
        PartitionSettings p = new PartitionSettings();
        p.setDefaultPartitionId(0);
        return p;
    }

    @Bean
    public SubscriptionSettings subscriptionSettings() {
        return new SubscriptionSettings(); // no channel is supported: a Subscription is stored, nothing is sent
    }

    @Bean
    public IEmailSender emailSender() {
        return details -> {};
    }

    @Bean
    public IBinaryStorageSvc binaryStorage() {
        return new MemoryBinaryStorageSvcImpl();
    }

    @Bean(destroyMethod = "close")
    public BasicDataSource dataSource() {
        BasicDataSource d = new BasicDataSource();
        d.setDriver(new org.h2.Driver());
        d.setUrl("jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=20000");
        d.setUsername("sa");
        d.setPassword("");
        d.setMaxTotal(40);
        d.setMaxIdle(40);
        d.setMinIdle(4);
        return d;
    }

    @Bean
    public LocalContainerEntityManagerFactoryBean entityManagerFactory(
            ConfigurableListableBeanFactory beans, FhirContext ctx, JpaStorageSettings storage, DataSource db) {
        LocalContainerEntityManagerFactoryBean f =
                HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, ctx, storage);
        f.setPersistenceUnitName("HAPI");
        f.setDataSource(db);
        Properties p = new Properties();
        p.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
        p.put("hibernate.hbm2ddl.auto", "create-only"); // a fresh in-memory database: nothing to compare with
        p.put("hibernate.search.enabled", "false"); // no Lucene, no Elasticsearch
        p.put("hibernate.jdbc.batch_size", "20");
        p.put("hibernate.cache.use_query_cache", "false");
        p.put("hibernate.cache.use_second_level_cache", "false");
        f.setJpaProperties(p);
        return f;
    }

    @Bean
    @Primary
    public JpaTransactionManager transactionManager(EntityManagerFactory f) {
        return new JpaTransactionManager(f);
    }

    /** Batch jobs ($export) move on once per pass of this service; a minute apart by default. */
    @Bean
    public static BeanPostProcessor quickBatchJobs() {
        return new BeanPostProcessor() {
            @Override
            public Object postProcessAfterInitialization(Object bean, String name) {
                if (bean instanceof JobMaintenanceServiceImpl jobs) {
                    jobs.setScheduledJobFrequencyMillis(250);
                }
                return bean;
            }
        };
    }
}
