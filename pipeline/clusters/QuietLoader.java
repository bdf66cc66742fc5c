import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Loads a job server from jars that Beam doesn't find, as the JVM's system class loader.
 *
 * <p>Beam sends every jar that it finds on the class path with each job, 157 MB. The cluster has
 * the same ones on its own class path, so that they need not be sent.
 */
public final class QuietLoader extends URLClassLoader {
  public QuietLoader(ClassLoader parent) {
    super(jars(), parent);
  }

  private static URL[] jars() {
    return Arrays.stream(System.getProperty("throughline.jars").split(":"))
        .map(QuietLoader::url)
        .toArray(URL[]::new);
  }

  private static URL url(String jar) {
    try {
      return Path.of(jar).toUri().toURL();
    } catch (MalformedURLException e) {
      throw new IllegalArgumentException(jar, e);
    }
  }

  /** Returns none: this is where Beam looks for jars to send. */
  @Override
  public URL[] getURLs() {
    return new URL[0];
  }
}
