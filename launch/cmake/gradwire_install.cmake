# What `cmake --install` puts where, and the Debian package that `cpack` makes of it. An installed
# Gradwire is found by find_package(gradwire); its targets are gradwire::core to gradwire::launch.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/gradwire)
set_target_properties(gw_usage PROPERTIES EXPORT_NAME usage)
install(TARGETS gw_usage EXPORT gradwire)
install(EXPORT gradwire NAMESPACE gradwire:: FILE gradwire-targets.cmake DESTINATION ${package_folder})

configure_package_config_file(${PROJECT_SOURCE_DIR}/launch/cmake/gradwire-config.cmake.in
  ${PROJECT_BINARY_DIR}/gradwire-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradwire-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gradwire-config.cmake
  ${PROJECT_BINARY_DIR}/gradwire-config-version.cmake DESTINATION ${package_folder})
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples docs DESTINATION ${CMAKE_INSTALL_DOCDIR})

if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_NAME gradwire)
  set(CPACK_PACKAGE_CONTACT "The Gradwire developers <gradwire@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains neural networks over the network you have")
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS openmpi-bin)
  set(CPACK_STRIP_FILES ON)
  include(CPack)
endif()
